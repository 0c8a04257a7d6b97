"""The mask that a reader paints, without a browser: what stands where no script runs, and what is on the page."""

import base64
import json
import re

import numpy as np
import pytest
import torch

from lecture_course.nb12_beit.mask_pad import MaskPad, Street, in_eight_bits
from lecture_utils.transformers import BEiT, MaskedImageModel, VisualTokens

DICE = torch.Generator().manual_seed(0)


def small():
    torch.manual_seed(0)
    model = MaskedImageModel(
        BEiT((12, 16), patch_size=4, dim=8, depth=2, heads=2, mlp_dim=12), VisualTokens(10, 4)
    ).eval()
    model.tokens.set_codebook(torch.randn(10, 48, generator=DICE))
    return model


def streets(number=2):
    return [
        Street(f"<{k}>", np.full((24, 32, 3), 90 + k, np.uint8), torch.randn(3, 12, 16, generator=DICE))
        for k in range(number)
    ]


MASK = torch.tensor([[1, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]], dtype=torch.bool)


def html(pad):
    return pad._repr_mimebundle_()["text/html"]


@pytest.mark.slide("34")
def test_a_state_stands_without_a_script_and_nothing_is_loaded():
    model, given = small(), streets()
    pad = MaskPad(model, given, MASK, hidden=4)
    page, _, script = html(pad).partition("<script>")
    truth = model.tokens(given[0].image[None])[0]
    words, _ = model.complete(given[0].image[None], MASK[None])
    hidden = MASK.flatten()
    assert pad.found[:2] == (3, int((words[0] == truth)[hidden].sum()))
    near = truth[[1, 2, 2]]  # the first visible neighbours of patches 0, 3 and 6
    assert pad.found[2] == int((near == truth[hidden]).sum())
    assert "3 of 12 patches hidden" in repr(pad)
    assert '<div class="explorer-controls" style="display: none;' in page
    assert not re.search(r'https?:|(?:src|href)="(?!data:)|\bid=', page)
    assert not re.search(r"https?:|\b(KEY|DATA|VIEWS|GREEN|BLUE)\b", script)
    assert "<0>" not in page
    assert page.count("<img") == 2


@pytest.mark.slide("34")
def test_the_page_holds_the_weights_and_the_masks():
    model = small()
    pad = MaskPad(model, streets(), MASK, hidden=4)
    script = html(pad).partition("<script>")[2]
    data, _ = json.JSONDecoder().raw_decode(script[script.index("const data = ") + len("const data = ") :])
    whole, halves = (
        np.frombuffer(base64.b64decode(data[k]), t) for k, t in (("bytes", np.int8), ("halves", np.float16))
    )
    assert sum(max(1, rows) * columns for rows, columns in data["parts"]) == sum(p.numel() for p in model.parameters())
    assert len(whole) == sum(rows * columns for rows, columns in data["parts"])
    assert len(halves) == sum(rows or columns for rows, columns in data["parts"])
    embed = (whole[: 8 * 48].reshape(8, 48) * halves[:8, None].astype(np.float32)).reshape(8, 3, 4, 4)
    assert np.array_equal(embed, pad.model.backbone.patch_embed.weight.detach().numpy())
    for kind in ("blocks", "single patches"):
        assert all(len(set(mask)) == len(mask) <= 4 for mask in data[kind])
        assert all(0 <= number < 12 for mask in data[kind] for number in mask)
    assert [street["truth"] for street in data["streets"]] == pad.truth.tolist()


@pytest.mark.slide("34")
def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="streets: got none"):
        MaskPad(small(), [], MASK)
    with pytest.raises(ValueError, match=r"mask: got \(2, 3\)"):
        MaskPad(small(), streets(), torch.zeros(2, 3, dtype=torch.bool))


@pytest.mark.slide("34")
def test_eight_bits_are_nearly_the_same_network_and_leave_the_given_one_alone():
    model = small()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    rounded = in_eight_bits(model)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name])
    for one, other in zip(model.parameters(), rounded.parameters(), strict=True):
        assert (one - other).abs().max() <= one.abs().max() / 250
    again = in_eight_bits(rounded)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(again.parameters(), rounded.parameters(), strict=True))


@pytest.mark.slide("34")
def test_the_shipped_network_finds_as_much_in_eight_bits():
    from lecture_utils import recipes, tasks
    from lecture_utils.transformers import blockwise_mask

    model, streets = recipes.load("beit"), tasks.masked_data("test")
    images = torch.stack([streets[index][0] for index in range(40)])
    masks = torch.stack([blockwise_mask((12, 12), 55, generator=DICE) for _ in images])
    truth = model.tokens(images)
    hit = [
        (each.complete(images, masks)[0] == truth)[masks.flatten(1)].float().mean()
        for each in (model, in_eight_bits(model))
    ]
    assert abs(hit[0] - hit[1]) < 0.01
