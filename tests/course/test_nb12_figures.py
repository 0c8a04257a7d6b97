"""What the images of masks, words, steps and the tables of slide 35 show, read off their artists."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb, to_rgba

from lecture_course.nb12_beit.drawings import beit_drawing
from lecture_course.nb12_beit.figures import (
    as_words,
    bias_maps,
    codebook,
    covered,
    label_curves,
    often_hidden,
    probe_scores,
    results_table,
    titled,
)
from lecture_utils import recipes, tasks
from lecture_utils.figures.boxes import masked_patches
from lecture_utils.figures.style import ORANGE, PURPLE
from lecture_utils.transformers import RelativePositionBias, bias_by_step, masked_token_loss
from lecture_utils.transformers.beit_results import ADE20K, IMAGENET

DICE = torch.Generator().manual_seed(0)
IMAGE = torch.randint(0, 256, (3, 12, 20), generator=DICE, dtype=torch.uint8)
WORDS = torch.randint(0, 256, (3, 5), generator=DICE)


@pytest.mark.slide("34")
def test_hidden_patches_are_covered_and_the_others_stay():
    mask = torch.rand(3, 5, generator=torch.Generator().manual_seed(1)) < 0.4
    shown = masked_patches(IMAGE, mask)
    for row in range(3):
        for column in range(5):
            patch = shown[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            before = IMAGE[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].permute(1, 2, 0).numpy()
            expected = (
                np.broadcast_to(np.rint(np.multiply(255, to_rgb(PURPLE))), patch.shape) if mask[row, column] else before
            )
            assert np.array_equal(patch, expected)
    assert np.array_equal(masked_patches(IMAGE.permute(1, 2, 0).numpy(), mask), shown)
    with pytest.raises(ValueError, match=r"mask: got shape \(5, 5\)"):
        masked_patches(IMAGE, torch.zeros(5, 5, dtype=torch.bool))


@pytest.mark.slide("34")
def test_covered_patches_tell_nothing():
    mask = torch.tensor([[True, False, False], [False, False, True]])
    shown = covered(IMAGE, mask)
    assert len(np.unique(shown[:6, :6].reshape(-1, 3), axis=0)) == 1
    assert np.array_equal(shown[:6, 7:], IMAGE.permute(1, 2, 0).numpy()[:6, 7:])
    assert np.array_equal(shown[6:, 14:], np.broadcast_to(shown[0, 0], (6, 6, 3)))


@pytest.mark.slide("34")
def test_images_stand_under_their_names_and_classes_are_told():
    labels = torch.zeros(12, 20, dtype=torch.uint8)
    fig = titled({"street": IMAGE, "labels": labels, "again": IMAGE}, title="three")
    assert [ax.get_title() for ax in fig.axes] == ["street", "labels", "again"]
    assert np.array_equal(fig.axes[0].images[0].get_array(), IMAGE.permute(1, 2, 0))
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["road"]


@pytest.mark.slide("34")
def test_how_often_a_patch_is_hidden_is_its_colour():
    shares = torch.tensor([[0.05, 0.5, 0.2], [0.7, 0.123, 0.1]])
    ax, bar = often_hidden(shares).axes
    assert [(text.get_position(), text.get_text()) for text in ax.texts] == [((0, 0), "5"), ((1, 1), "12")]
    np.testing.assert_allclose(ax.images[0].get_array(), 100 * shares)
    assert ax.images[0].get_clim() == pytest.approx((0, 70))
    assert "percent" in bar.get_ylabel()


@pytest.mark.slide("34")
def test_label_curves_have_a_logarithmic_axis_and_a_reference():
    rows, leads = [[0.1, 0.3], [0.2, 0.5]], [[0.01, 0.03]]
    more = {"ylabels": ("mean IoU", "lead"), "reference": ("U-Net", 0.85)}
    left, right = label_curves([20, 200], {"pre-trained": rows}, {"thin": leads}, **more).axes
    assert left.get_xscale() == right.get_xscale() == "log"
    line, reference = left.get_lines()
    assert line.get_ydata().tolist() == pytest.approx([0.15, 0.4])
    assert set(reference.get_ydata()) == {0.85}
    assert sorted(map(tuple, left.collections[0].get_offsets().tolist())) == [
        (20, 0.1),
        (20, 0.2),
        (200, 0.3),
        (200, 0.5),
    ]
    assert right.get_lines()[0].get_ydata().tolist() == [0.01, 0.03]
    assert [text.get_text() for ax in (left, right) for text in ax.get_legend().get_texts()] == [
        "pre-trained",
        "U-Net",
        "thin",
    ]
    with pytest.raises(ValueError, match=r"lines, leads: got \(2, 2\)"):
        label_curves([20], {"pre-trained": rows}, {}, **more)


@pytest.mark.slide("34")
def test_probes_are_dots_beside_their_means():
    (ax,) = probe_scores({"task": {"colours": [0.5, 0.7], "pre-trained": [0.9]}}, {"task": 0.3}).axes
    assert [point for dots in ax.collections for point in dots.get_offsets().tolist()] == [[50, 0], [70, 0], [90, 1]]
    assert [text.get_text() for text in ax.texts] == ["colours", "60.0", "pre-trained", "90.0"]
    assert ax.get_title() == "task\nmajority class: 30 %"


@pytest.mark.slide("34")
def test_the_drawing_is_the_forward_pass():
    model, (image, mask) = recipes.load("beit"), tasks.masked_data("test")[5]
    large = np.zeros((512, 512, 3), np.uint8)
    drawing = beit_drawing(model, image[None], mask[None], large)
    blocks = {block.name: block for block in drawing.blocks}
    with torch.no_grad():
        logits = model(image[None], mask[None])
        tokens, weights = model.backbone(image[None], mask[None], need_weights=True)
    assert torch.equal(blocks["logits"].value, logits[0])
    assert torch.equal(blocks["features"].value, tokens[0, 1:])
    assert torch.equal(blocks["attention"].value, weights[0][0].mean(0)[1:, 1:])
    hidden = blocks["tokens"].value[mask.flatten()]
    assert (hidden == model.backbone.mask_token).all()
    loss = masked_token_loss(logits, model.tokens(image[None]), mask[None])
    assert blocks["loss"].value["cross-entropy"] == f"{loss:.2f}"
    assert [block.name for block in drawing.blocks if not block.says] == ["features"]  # a step with those before
    with pytest.raises(ValueError, match="image: got 2 images"):
        beit_drawing(model, image.expand(2, -1, -1, -1), mask[None], large)


@pytest.mark.slide("34")
def test_words_stand_where_their_patches_are():
    painted = torch.randint(0, 256, IMAGE.shape, generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    left, middle, right = as_words(IMAGE, painted, WORDS, (1, 2, 3, 5), title="words").axes
    area = (slice(None), slice(4, 12), slice(8, 20))
    assert np.array_equal(left.images[0].get_array(), IMAGE[area].permute(1, 2, 0))
    assert np.array_equal(right.images[0].get_array(), painted[area].permute(1, 2, 0))
    written = {tuple(map(int, text.get_position()[::-1])): int(text.get_text()) for text in middle.texts}
    assert written == {(row, column): WORDS[1 + row, 2 + column].item() for row in range(2) for column in range(3)}
    means = painted[area].float().unflatten(1, (2, 4)).unflatten(3, (3, 4)).mean((2, 4)).permute(1, 2, 0) / 255
    np.testing.assert_allclose(middle.images[0].get_array(), means, rtol=1e-5)
    for window in ((2, 0, 2, 3), (0, 0, 4, 3), (-1, 0, 2, 3)):
        with pytest.raises(ValueError, match="window: got"):
            as_words(IMAGE, painted, WORDS, window)


@pytest.mark.slide("34")
def test_a_vocabulary_is_shown_word_by_word():
    codes = torch.randint(0, 255, (7, 3, 2, 4), generator=DICE, dtype=torch.uint8)
    (ax,) = codebook(codes, columns=3).axes
    sheet = ax.images[0].get_array()
    assert sheet.shape == (9, 15, 3)
    for word in range(7):
        row, column = divmod(word, 3)
        shown = sheet[3 * row : 3 * row + 2, 5 * column : 5 * column + 4]
        assert np.array_equal(shown, codes[word].permute(1, 2, 0))
    assert (sheet[2::3] == 255).all()
    assert (sheet[6:, 5:] == 255).all()  # the last row is not full
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "3", "6"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["+0", "+1", "+2"]


@pytest.mark.slide("34")
@pytest.mark.parametrize("grid", [(3, 3), (2, 5)])
def test_a_step_is_where_it_leads(grid):
    """The map holds at (down, right) of its middle what is added when a patch looks at one so far away."""
    layer = RelativePositionBias(grid, 2)
    torch.nn.init.normal_(layer.table)
    maps, bias = bias_by_step(layer.table, grid), layer()[:, 1:, 1:]
    height, width = grid
    assert maps.shape == (2, 2 * height - 1, 2 * width - 1)
    for who in range(height * width):
        for at in range(height * width):
            down, right = at // width - who // width, at % width - who % width
            assert torch.equal(maps[:, height - 1 + down, width - 1 + right], bias[:, who, at])
    with pytest.raises(ValueError, match="table: got shape"):
        bias_by_step(layer.table[1:], grid)


@pytest.mark.slide("34")
def test_every_head_has_a_panel_on_one_scale():
    maps = torch.randn(3, 5, 9, generator=torch.Generator().manual_seed(0))
    *panels, bar = bias_maps(maps, title="layer 1").axes  # the fourth panel of 2 × 2 is not there
    assert [ax.get_title() for ax in panels] == ["head 1", "head 2", "head 3"]
    for ax, map_ in zip(panels, maps, strict=True):
        image = ax.images[0]
        assert np.array_equal(image.get_array(), map_)
        assert image.get_clim()[1] == -image.get_clim()[0] == pytest.approx(float(maps.abs().max()))
        assert image.get_extent() == [-4.5, 4.5, 2.5, -2.5]
    assert bar.get_ylabel() == "added to the score"
    assert bias_maps(maps, most=9).axes[0].images[0].get_clim() == (-9, 9)


def dots(ax):
    """The places of all dots, and their colours."""
    offsets = [tuple(point) for dots in ax.collections for point in dots.get_offsets().tolist()]
    colours = [tuple(colour) for dots in ax.collections for colour in dots.get_facecolors() if len(dots.get_offsets())]
    return offsets, colours


@pytest.mark.slide("35")
def test_the_first_table_is_drawn_row_by_row():
    fig = results_table(IMAGENET, {"top1": "top-1"}, xlabel="top-1 accuracy in percent", title="slide 35")
    (ax,) = fig.axes
    offsets, colours = dots(ax)
    assert [x for x, _ in offsets] == [row.top1 for row in IMAGENET]
    assert [y for _, y in offsets] == sorted({y for _, y in offsets})  # downwards, no two on one line
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert [colour == to_rgba(ORANGE) for colour in colours] == [row.model.startswith("BEiT") for row in IMAGENET]
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names[0] == "ViT-B 384²"
    assert names[-2] == "BEiT-L 224² (printed BEiT-T)"
    assert "ViT-B-JFT300M 384² (on JFT-300M)" in names
    headings = [text.get_text() for text in ax.texts if text.get_style() == "italic"]
    assert headings == list(dict.fromkeys(row.training for row in IMAGENET))
    assert not fig.legends


@pytest.mark.slide("35")
def test_the_second_table_has_two_dots_a_row():
    fig = results_table(ADE20K, {"miou": "one scale", "multi_scale": "several"}, xlabel="mean IoU in percent")
    offsets, _ = dots(fig.axes[0])
    shown = [x for x, _ in offsets]
    assert shown == [row.miou for row in ADE20K] + [row.multi_scale for row in ADE20K]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["one scale", "several"]
    low, high = fig.axes[0].get_xlim()
    assert low < min(shown)
    assert max(shown) < high
