"""The mask that a reader paints, without a browser: what stands where no script runs, and what is on the page."""

import base64
import json
import re

import numpy as np
import pytest
import torch

from lecture_course.nb12_beit.mask_pad import MaskPad, Street, weights_of
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
    weights = np.frombuffer(base64.b64decode(data["weights"]), np.float16)
    assert np.array_equal(weights, weights_of(model))
    assert len(weights) == sum(p.numel() for p in model.parameters())
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
