"""Drawings of networks: what is drawn is what the model gave, a step keeps its colours, and no text lies on another."""

import itertools

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.colors import Normalize
from torch import nn

from lecture_utils.figures.classifier import classifier_blocks, classifier_layers
from lecture_utils.figures.network import PALE, draw_network, network_steps
from lecture_utils.figures.network_blocks import Arrow, Band, Block, Table, scaled, steps_of
from lecture_utils.figures.style import INK, SKY


def pixels(fig):
    return [np.asarray(image.get_array()) for image in fig.axes[0].images]


def words(fig):
    return [text.get_text() for text in fig.axes[0].texts]


def require_legible(fig):
    """No text upon another, none outside of the page, none too small."""
    fig.canvas.draw()
    texts = [text for text in fig.axes[0].texts if text.get_text()]
    boxes = [text.get_window_extent() for text in texts]
    page = fig.bbox.padded(1)
    for text, box in zip(texts, boxes, strict=True):
        assert page.x0 <= box.x0 < box.x1 <= page.x1, text
        assert page.y0 <= box.y0 < box.y1 <= page.y1, text
    for (one, a), (other, b) in itertools.combinations(zip(texts, boxes, strict=True), 2):
        assert not a.padded(-0.5).overlaps(b.padded(-0.5)), (one, other)
    assert min(text.get_fontsize() for text in texts) >= 10.5


def three():
    generator = torch.Generator().manual_seed(0)
    image = np.random.default_rng(0).integers(0, 256, (14, 22, 3), dtype=np.uint8)
    maps = torch.randn(5, 7, 11, generator=generator)
    vector = torch.randn(9, generator=generator)
    blocks = [
        Block("image", image, (0, 0), "It comes in.", shape=(3, 7, 11), marks=[(2, 1, 6, 5, SKY)]),
        Block("maps", maps, (1, 0), "It is convolved."),
        Block("vector", vector, (2, 0), "It is flattened."),
        Block("softmax", {"car": 0.75, "person": 0.25}, (3, 0), size=1.5),
    ]
    kinds = ("convolution", "flatten", "softmax")
    return blocks, [Arrow(*pair, kind) for pair, kind in zip(itertools.pairwise(blocks), kinds, strict=True)]


def colours_of(values):
    return np.rint(255 * mpl.colormaps["viridis"](Normalize()(values.numpy()))[..., :3])


@pytest.mark.slide("01")
def test_values_are_drawn_as_what_they_are():
    blocks, arrows = three()
    fig = draw_network(blocks, arrows, about="All of it.")
    require_legible(fig)
    image, *sheets, vector = pixels(fig)
    assert np.array_equal(image, blocks[0].value)
    strongest = blocks[1].value.flatten(1).var(1).argsort(descending=True)[:3].tolist()
    for sheet, channel in zip(reversed(sheets), strongest, strict=True):  # the foremost is drawn last
        assert np.array_equal(sheet, colours_of(blocks[1].value[channel]))
    assert np.array_equal(vector[:, 0], colours_of(blocks[2].value))
    assert {"image", "maps", "3 × 7 × 11", "5 × 7 × 11", "9", "car", "person", "All of it."} <= set(words(fig))
    bars = [patch.get_width() for patch in fig.axes[0].patches if patch.get_gid() == "bar"]
    assert bars[0] == pytest.approx(3 * bars[1])


def test_a_map_keeps_its_aspect_and_marks_lie_at_their_pixels():
    fig = draw_network(*three())
    x0, x1, y1, y0 = fig.axes[0].images[0].get_extent()
    assert (x1 - x0) / (y1 - y0) == pytest.approx(11 / 7)
    (frame,) = {patch.get_bbox().bounds for patch in fig.axes[0].patches if patch.get_gid() == "mark"}
    pixel = (x1 - x0) / 11
    assert frame == pytest.approx((x0 + 2 * pixel, y0 + pixel, 4 * pixel, 4 * pixel))


def test_a_step_keeps_its_colours_and_tells_its_shapes():
    blocks, arrows = three()
    fig = draw_network(blocks, arrows, highlight=1)
    require_legible(fig)
    image, *sheets, vector = pixels(fig)
    assert np.array_equal(sheets[-1], colours_of(blocks[1].value[blocks[1].value.flatten(1).var(1).argmax()]))
    for pale, full in ((image, blocks[0].value), (vector[:, 0], colours_of(blocks[2].value))):
        assert np.allclose(pale, 255 - PALE * (255 - full.astype(float)), atol=0.6)  # every pixel of it
    assert {"maps (convolution):  3 × 7 × 11  →  5 × 7 × 11", "It is convolved."} <= set(words(fig))


def test_single_numbers_are_told_by_their_names():
    """Two losses and their sum all have the shape 1."""
    first, second = (
        Block(name, Table(loss="0.5"), (i, 0), "A loss.", shape=(1,)) for i, name in enumerate(("L2", "entropy"))
    )
    total = Block("sum", Table(loss="1"), (2, 0), "They are added.", shape=(1,))
    fig = draw_network([first, second, total], [Arrow(first, total), Arrow(second, total)], highlight=2)
    assert "sum:  L2 and entropy  →  1" in words(fig)


def test_a_block_without_a_sentence_is_a_part_of_the_step_before():
    blocks, arrows = three()
    assert [[block.name for block in step] for step in steps_of(blocks)] == [["image"], ["maps"], ["vector", "softmax"]]
    first, *_, last = pixels(draw_network(blocks, arrows, highlight=2))
    assert first.mean() > 190
    assert np.array_equal(last[:, 0], colours_of(blocks[2].value))


def test_tensors_without_values_are_empty_boxes_and_label_maps_have_their_colours():
    labels = np.array([[0, 13, 255]])
    blocks = [Block("a", torch.empty(4, 5, 6, device="meta"), (0, 0)), Block("b", labels, (1, 0.5)), *three()[0][2:3]]
    *sheets, label_map, _ = pixels(draw_network([*blocks[:2], Block("c", torch.ones(3), (1, 1))]))
    assert len(sheets) == 3
    assert {sheet.shape for sheet in sheets} == {(1, 1, 3)}
    assert label_map[0, 0].tolist() == [128, 64, 128]


def test_a_step_can_be_enlarged_with_the_classes_of_a_label_map():
    labels = np.array([[0, 13], [13, 255]])
    blocks, arrows = three()
    blocks.append(Block("label map", labels, (3, 1), "It is labelled."))
    whole, fig = (draw_network(blocks, arrows, highlight=k, about="All.", enlarge=True) for k in (None, 3))
    for drawn in (whole, fig):
        require_legible(drawn)
        *_, large = drawn.axes[0].images
        x0, x1, y1, y0 = large.get_extent()
        assert min(x1 - x0, y1 - y0) * 80 >= 250
        assert np.array_equal(pixels(drawn)[-1], np.array([[[128, 64, 128], [0, 0, 142]], [[0, 0, 142], [0, 0, 0]]]))
        assert words(drawn).count("road") == 1
        assert len({p.get_facecolor() for p in drawn.axes[0].patches if p.get_gid() == "class"}) == 2
    assert whole.get_figheight() == fig.get_figheight()
    assert {"convolution", "All."} <= set(words(whole))


def test_of_a_step_of_several_the_first_and_the_last_are_enlarged():
    maps = [torch.rand(4, side, side) for side in (8, 4, 2)]
    blocks = [Block(f"map {k}", m, (k, 0), "Smaller." if k == 0 else "") for k, m in enumerate(maps)]
    fig = draw_network(blocks, highlight=0, enlarge=True)
    require_legible(fig)
    first, last = (pixels(fig)[-n] for n in (4, 1))
    assert first.shape[:2] == (8, 8)
    assert last.shape[:2] == (2, 2)
    with pytest.raises(ValueError, match="expected a shorter text"):
        draw_network(blocks, about="word " * 200, enlarge=True)


def test_maps_of_one_scale_have_one_colour_for_a_number():
    one, other = torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[1.0, 5.0]]])
    blocks = [Block("a", one, (0, 0), scale=torch.cat([one, other], 2)), Block("b", other, (1, 0))]
    blocks[1].scale = blocks[0].scale
    a, b = pixels(draw_network(blocks))
    assert a[0, 1].tolist() == b[0, 0].tolist()


@pytest.mark.parametrize("sides", list(itertools.product(("left", "right", "top", "bottom"), repeat=2)))
def test_arrows_run_level_and_upright_from_side_to_side(sides):
    blocks = [Block("a", torch.rand(2, 3, 5), (0, 0)), Block("b", torch.rand(2, 5, 3), (1, 1))]
    fig = draw_network(blocks, [Arrow(*blocks, "layer", sides)])
    way = fig.axes[0].patches[0]._path_original.vertices
    assert len(way) in (3, 4)
    assert ((np.abs(np.diff(way, axis=0)) > 1e-9).sum(1) == 1).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Block("a", torch.rand(1, 2, 3, 4), (0, 0)), "value: got shape .* for 'a'"),
        (lambda: Block("a", torch.rand(0, 2, 3), (0, 0)), "value: got shape"),
        (lambda: draw_network([]), "blocks: got none"),
        (lambda: draw_network([Block("a", torch.rand(3), (0, 0.5))]), "blocks: got no whole row"),
        (lambda: draw_network(three()[0], highlight=3), "highlight: got 3, expected 0 to 2"),
        (lambda: draw_network(three()[0], three()[1]), "arrows: got 'image' → 'maps'"),
        (lambda: draw_network(three()[0], about="word " * 50), "got 3 lines, expected at most 2"),
        (lambda: network_steps([Block("a", torch.rand(3), (0, 0))], title="t", about="a"), "blocks: got steps"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_steps_are_the_frames_of_an_explorer():
    blocks, arrows = three()
    explorer = network_steps(blocks, arrows, title="Three", about="A network of three.", kilobytes=60)
    assert [place["part"] for place in explorer.places] == ["all", "image", "maps", "vector"]
    assert explorer.frame(part="maps").alt == "maps is highlighted. It is convolved."
    assert explorer.frame(part="all").alt == "A network of three."
    assert sum(len(explorer.frame(**place).image.data) for place in explorer.places) <= 60_000
    assert explorer.play == "part"
    frames = [explorer.frame(**place) for place in explorer.places]
    assert [frame.below for frame in frames] == [None, *[frames[0].image] * 3]


def test_words_are_written_in_every_step_and_grey_where_they_are_pale():
    table = Table({"dx": "−0.10", "dy": "+0.20"})
    blocks = [three()[0][0], Block("deltas", table, (1, 0), "They move the box.", caption="5 × 4")]
    for highlight, colour in ((None, INK), (0, "#777777"), (1, INK)):
        fig = draw_network(blocks, [Arrow(*blocks)], highlight=highlight)
        require_legible(fig)
        inks = {text.get_text(): mpl.colors.to_rgb(text.get_color()) for text in fig.axes[0].texts}
        for word in ("deltas", "dx", "−0.10", "dy", "+0.20", "5 × 4"):
            assert inks[word] == pytest.approx(mpl.colors.to_rgb(colour), abs=0.01)
    assert blocks[1].words == "5 × 4"
    assert Block("loss", table, (0, 0), shape=(1,)).below is False


def test_no_headline_ends_in_an_arrow_or_names_a_layer_twice():
    blocks = [three()[0][0], Block("box", Table(x="0.5"), (1, 0), "A box.", shape=(4,))]
    blocks += [
        Block("on the image", torch.rand(2, 3, 3), (2, 0), caption=""),
        Block("loss", Table(L2="0.1"), (3, 0), "A loss.", shape=(1,)),
    ]
    arrows = [Arrow(*blocks[:2], "layer"), Arrow(*blocks[1:3]), Arrow(*blocks[2:], "loss", dashed=True)]
    for highlight, headline in ((1, "box (layer):  3 × 7 × 11  →  4"), (2, "loss:  1")):
        assert headline in words(draw_network(blocks, arrows, highlight=highlight))


def test_bands_lie_behind_their_blocks_and_are_named_in_every_step():
    blocks, arrows = three()
    once, often = "#DDECF6", "#FBEBCB"
    bands = [Band("once", blocks[:2], once), Band("once", blocks[:1], once), Band("often", blocks[2:], often)]
    for highlight in (None, 0, 2):
        fig = draw_network(blocks, arrows, highlight=highlight, bands=bands)
        require_legible(fig)
        assert words(fig).count("once") == words(fig).count("often") == 1
        areas = [patch.get_bbox() for patch in fig.axes[0].patches if patch.get_gid() == "band"]
        assert len(areas) == 3
        left, right, *_ = fig.axes[0].images[0].get_extent()  # of the image
        assert areas[0].x0 < left < right < areas[0].x1 < areas[2].x0
    plain, tinted = (draw_network(blocks, arrows, bands=some).get_figheight() for some in ((), bands))
    assert tinted == pytest.approx(plain + 0.37)


def test_an_arrow_between_two_tops_passes_above_what_stands_between():
    blocks = [Block(str(x), torch.rand(3, 4, 4), (x, 0)) for x in range(3)]
    fig = draw_network(blocks, [Arrow(blocks[0], blocks[2], "layer", ("top", "top"))], kinds={"layer": SKY})
    way = fig.axes[0].patches[0]._path_original.vertices
    labels = [text.get_window_extent().transformed(fig.axes[0].transData.inverted()) for text in fig.axes[0].texts[:3]]
    assert 0 < way[1, 1] == way[2, 1] < min(box.y1 for box in labels)
    assert mpl.colors.to_hex(fig.axes[0].patches[0].get_edgecolor()) == SKY.lower()


def test_an_arrow_turns_where_it_is_told():
    blocks = [Block("a", torch.rand(2, 3, 3), (0, 0)), Block("b", torch.rand(2, 3, 3), (1, 1))]
    sides = ("bottom", "top")
    for arrow in (Arrow(*blocks, sides=sides, bend=0.1), Arrow(*blocks[::-1], sides=sides[::-1], bend=0.1)):
        way = draw_network(blocks, [arrow]).axes[0].patches[0]._path_original.vertices
        assert abs(way[-1, 1] - way[-2, 1]) == pytest.approx(0.1)
        assert way[1, 1] == way[2, 1]


def test_an_arrow_starts_beside_another_that_ends_there():
    blocks = [Block(str(x), torch.rand(3, 4, 4), (x, 0)) for x in range(3)]
    around = "bottom", "bottom"
    arrows = [Arrow(*blocks[:2], sides=around), Arrow(*blocks[1:], sides=around, shift=0.2)]
    first, second = (way._path_original.vertices for way in draw_network(blocks, arrows).axes[0].patches[:2])
    assert second[0] == pytest.approx(first[-1] + [0.2, 0])


def test_smaller_maps_are_drawn_smaller_but_not_as_much():
    assert scaled((3, 40, 30), 40, size=2) == 2
    assert 0.5 < scaled((3, 10, 10), 40, size=2) / 2 < 1


def classifier(channels, height, width):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(channels, 5, 3, padding=1), nn.BatchNorm2d(5), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        nn.Sequential(nn.Flatten(), nn.Linear(5 * (height // 2) * (width // 2), 7), nn.ReLU(), nn.Linear(7, 3)),
    ).eval()


@pytest.mark.slide("01")
def test_the_layers_of_a_classifier_are_those_that_change_the_image():
    model, image = classifier(3, 9, 14), torch.randn(1, 3, 9, 14)
    layers = classifier_layers(model, image)
    assert [kind for kind, _ in layers] == [
        "convolution 3 × 3", "max pooling 2 × 2", "flatten", "linear layer", "linear layer",
    ]  # fmt: skip
    assert [tuple(values.shape) for _, values in layers] == [(5, 9, 14), (5, 4, 7), (140,), (7,), (3,)]
    assert torch.equal(layers[0][1], model[0][:3](image)[0])  # after its normalization and ReLU
    assert torch.equal(layers[-1][1], model(image)[0])


@pytest.mark.slide("01")
def test_a_classifier_is_drawn_from_the_image_to_the_probabilities():
    model, image = classifier(3, 9, 14), torch.randn(1, 3, 9, 14)
    blocks, arrows = classifier_blocks(model, image, ("a", "b", "c"), large=np.zeros((18, 28, 3), np.uint8))
    names = ["image", "convolution 1", "pooling 1", "vector", "hidden layer", "scores", "softmax"]
    assert [block.name for block in blocks] == names
    assert blocks[0].shape == (3, 9, 14)
    expected = model(image)[0].softmax(0)
    assert [blocks[-1].value[name] for name in "abc"] == pytest.approx(expected.tolist())
    assert [(arrow.start.name, arrow.end.name) for arrow in arrows] == list(itertools.pairwise(names))
    for highlight in (None, *range(len(names))):
        require_legible(draw_network(blocks, arrows, highlight=highlight))
    for bad in ("ab", "abcd"):
        with pytest.raises(ValueError, match="names: got"):
            classifier_blocks(model, image, bad, large=np.zeros((18, 28, 3), np.uint8))
    with pytest.raises(ValueError, match="model: got ReLU as first layer"):
        classifier_layers(nn.Sequential(nn.ReLU()), image)
