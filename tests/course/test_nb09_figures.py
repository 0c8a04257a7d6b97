"""The drawings and figures of notebook 09 show what the models gave, and the words below a drawing fit."""

import numpy as np
import pytest
import torch

from lecture_course.nb09_captioning_with_transformers import lookup, softmax
from lecture_course.nb09_captioning_with_transformers.drawings import (
    block_drawing,
    block_steps,
    captioner_drawing,
    captioner_figure,
    captioner_steps,
    high_framed,
    picture,
)
from lecture_course.nb09_captioning_with_transformers.figures import (
    accuracies,
    captioners,
    gradients,
    head_bars,
    lamps,
    learning,
    outlined,
    queries_compared,
    similarity_maps,
    streets_and_sentences,
)
from lecture_utils.captioning import CaptionTransformer, ViTCaptioner, Vocabulary
from lecture_utils.transformers import GridSelfAttention

STREET = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
WORDS = Vocabulary(["a", "red", "car"])
SIZES = {"dim": 8, "heads": 2, "encoder_layers": 2, "decoder_layers": 2}


@pytest.fixture
def block():
    torch.manual_seed(0)
    block = GridSelfAttention(16)
    torch.nn.init.constant_(block.gamma, 0.5)
    return block.eval()


def captioner(kind):
    torch.manual_seed(0)
    if kind == "ViT":
        return ViTCaptioner(len(WORDS), (24, 24), patch_size=4, **SIZES).eval(), torch.rand(1, 3, 24, 24)
    return CaptionTransformer(len(WORDS), 16, (6, 6), **SIZES).eval(), torch.rand(1, 16, 6, 6)


def by_name(drawing):
    return {part.name: part for part in drawing.blocks}


@pytest.mark.slide("28")
def test_the_block_is_followed_for_one_point(block):
    """The framed point's query, scores, weights, mean and result are those that the block gives."""
    x = torch.rand(1, 16, 4, 6)
    parts = by_name(block_drawing(block, x, STREET, (1, 2)))
    y, weights = block(x)
    torch.testing.assert_close(parts["weights"].value, weights[0, 8].view(4, 6))
    torch.testing.assert_close(parts["scores"].value.flatten().softmax(0), weights[0, 8])
    torch.testing.assert_close(parts["q"].value, block.query(x)[0, :, 1, 2])
    change = block.gamma * parts["mixed · W"].value
    torch.testing.assert_close(x[0, :, 1, 2] + change, y[0, :, 1, 2])
    torch.testing.assert_close(parts["y"].value, y[0])
    assert parts["weights"].marks[0][:4] == (2, 1, 3, 2)
    assert parts["image"].marks[0][:4] == (32, 24, 48, 48)
    assert parts["Q"].words == "2 × 4 × 6"
    with pytest.raises(ValueError, match=r"at: got \(4, 0\)"):
        block_drawing(block, x, STREET, (4, 0))


@pytest.mark.slide("29")
@pytest.mark.slide("30")
@pytest.mark.parametrize("kind", ["CNN", "ViT"])
def test_a_captioner_is_drawn_from_its_own_tensors(kind):
    model, z = captioner(kind)
    drawing = captioner_drawing(model, z, STREET, "a red", WORDS)
    parts = by_name(drawing)
    numbers = torch.tensor([WORDS.encode("a red")[:-1]])
    torch.testing.assert_close(parts["c"].value, model.encode(z)[0])
    assert list(parts["words"].value.values()) == ["<start>", "a", "red"]
    expected = model(z, numbers)[0][0, -1].softmax(-1)
    shown = parts["next word"].value
    assert max(shown, key=shown.get) == WORDS.words[expected.argmax()]
    assert sum(shown.values()) == pytest.approx(expected.topk(4).values.sum().item())
    mask = parts["masked self-attention"].value
    assert (mask.triu(1) == 0).all()
    torch.testing.assert_close(mask.sum(1), torch.ones(3))
    assert parts["self-attention"].value.shape == (32, 32)
    with torch.no_grad():
        tokens, embedded = model.encode_grid(model.cut(z) if kind == "ViT" else z), model.embed(numbers)
        first = model.encoder[0](tokens)[0][0]
        spoken = model.decoder[0](embedded + model.pos_embed[:3], model.encode(z), is_causal=True)[0][0]
    torch.testing.assert_close(parts["tokens x"].value, tokens[0])
    torch.testing.assert_close(parts["MLP"].value, first)  # the whole first layer
    torch.testing.assert_close(parts["MLP of the decoder"].value, spoken)
    assert parts["x + attention"].words == "36 × 8"
    assert ("patches" in parts) == (kind == "ViT")
    assert {arrow.kind for arrow in drawing.arrows} >= {"Q, K", "V", "residual: add", "MLP"}
    with pytest.raises(ValueError, match="z: got 2 images"):
        captioner_drawing(model, z.repeat(2, 1, 1, 1), STREET, "a", WORDS)


@pytest.mark.slide("29")
def test_each_residual_connection_adds_what_went_in():
    """In both halves: from what enters a part to what leaves it, and no further."""
    drawing = captioner_drawing(*captioner("CNN"), STREET, "a red", WORDS)
    ways = [(arrow.start.name, arrow.end.name) for arrow in drawing.arrows if arrow.kind == "residual: add"]
    assert ways == [
        ("tokens x", "x + attention"),
        ("x + attention", "MLP"),
        ("embedded", "+ self-attention"),
        ("+ self-attention", "+ cross-attention"),
        ("+ cross-attention", "MLP of the decoder"),
    ]
    assert [arrow.start.name for arrow in drawing.arrows if arrow.shift] == ["x + attention"]


@pytest.mark.slide("30")
def test_the_encoder_can_be_drawn_alone():
    labels = [
        text.get_text()
        for text in captioner_figure(*captioner("ViT"), STREET, "a", WORDS, encoder_only=True).axes[0].texts
    ]
    assert "patches" in labels
    assert "cross-attention" not in labels


def test_the_words_of_every_step_fit(block):
    """`draw_network` refuses sentences that are too long."""
    pages = [block_steps(block, torch.rand(1, 16, 4, 6), STREET, (1, 2))]
    pages += [captioner_steps(*captioner(kind), STREET, "a red car", WORDS) for kind in ("CNN", "ViT")]
    assert [len(page.places) for page in pages] == [12, 14, 14]


def test_the_cells_of_high_weight_are_framed():
    map_ = torch.zeros(4, 4)
    map_[1, 2], map_[3, 0], map_[0, 0] = 1, 0.5, 0.4
    block = high_framed(picture("image", np.zeros((32, 32, 3), np.uint8), (0, 0), "", ""), map_)
    assert [mark[:4] for mark in block.marks] == [(16, 8, 24, 16), (0, 24, 8, 32)]


@pytest.mark.slide("29")
def test_similarities_are_cosines():
    vectors = torch.tensor([[1.0, 0], [0, 2], [-3, 0]])
    fig = similarity_maps({"a": ("row", vectors), "b": ("word", torch.ones(2, 5))}, title="t")
    first, second, bar = fig.axes
    assert np.allclose(first.images[0].get_array(), [[1, 0, -1], [0, 1, 0], [-1, 0, 1]])
    assert np.allclose(second.images[0].get_array(), 1)
    assert (first.get_title(), first.get_xlabel(), bar.get_ylabel()) == ("a", "row", "cosine")
    with pytest.raises(ValueError, match=r"panels: got shape \(2, 2\) of 'a', expected \(n, d\), none of them 0"):
        similarity_maps({"a": ("row", torch.tensor([[0.0, 0], [1, 1]]))})


@pytest.mark.slide("29")
def test_each_head_has_its_bar():
    hits, colours, elsewhere = [0.1, 0.2, 0.3, 0.4, 0.9], [0.1, 0.1, 0.3, 0.2, 0.8], [0.2, 0.1, 0.1, 0.2, 0.3]
    (ax,) = head_bars(*map(torch.tensor, (hits, colours, elsewhere)), 0.05, layers=2, title="t").axes
    assert [bar.get_height() for bar in ax.patches] == pytest.approx(hits)
    assert ax.lines[0].get_ydata().tolist() == pytest.approx(colours)
    assert [line[0, 1] for line in ax.collections[0].get_segments()] == pytest.approx(elsewhere)
    names = [label.get_text() for label in ax.get_xticklabels()]
    assert names == ["layer 1\nhead 1", "layer 1\nhead 2", "layer 2\nhead 1", "layer 2\nhead 2", "all\ntogether"]


@pytest.mark.slide("28")
def test_an_arrow_leads_from_each_query_to_its_largest_weight():
    weights = torch.eye(16)
    weights[:, 6] = 2.0
    weights[14] = torch.eye(16)[3]
    left, right = queries_compared(STREET, weights, {"sky": (0, 1), "road": (3, 2)}, title="t").axes
    corners = [frame.get_xy() for frame in left.patches if hasattr(frame, "get_xy")]
    assert corners[:2] == [(23.5, -0.5), (47.5, 71.5)]
    assert right.patches[0].get_xy() == (47.5, 23.5)  # row 1, column 2
    words = [text.get_text() for text in left.texts]
    assert "sky: 2.00" in words
    assert "road: 1.00" in words
    ends = [text.xy for text in left.texts if hasattr(text, "xy")]
    assert ends == [(60, 36), (84, 12)]


@pytest.mark.slide("28")
def test_lamps_show_their_signs_and_each_asker_its_map():
    x = lookup.draw(1, torch.Generator().manual_seed(0))[0][0]
    askers = lookup.askers(x)
    assert len({x[:8, row, column].argmax().item() for row, column in askers}) == 3
    assert all(x[8, row, column] == 0 for row, column in askers)
    weights = torch.rand(64, 64)
    grid, *each, bar = lamps(x, weights, askers, title="t").axes
    assert len(grid.patches) == 8 + 3  # rings and frames
    signs = [text.get_text() for text in grid.texts]
    assert signs.count("+") == (x[9] > 0).sum()
    assert signs.count("−") == (x[9] < 0).sum()
    for ax, (row, column) in zip(each, askers, strict=True):
        assert np.allclose(ax.images[0].get_array(), weights[8 * row + column].view(8, 8).numpy())
    assert bar.get_ylabel() == "attention weight"


@pytest.mark.slide("28")
def test_each_training_has_its_line():
    fig = learning({"a": (1, 2), "b": (1,)}, {"a": [[0.5, 0.6], [0.7, 0.8]], "b": [[0.9]]}, ("coin", 0.5))
    (ax,) = fig.axes
    assert [line.get_ydata().tolist() for line in ax.lines[:3]] == [[0.5, 0.6], [0.7, 0.8], [0.9]]
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["a", "b", "coin"]


@pytest.mark.slide("28")
def test_the_median_of_gradients_is_drawn():
    spread = softmax.Spread(1.0, 0.5, torch.tensor([1.0, 2, 6]))
    (ax,) = gradients((1, 4), {"a": [spread, spread]}).axes
    assert [line.get_ydata().tolist() for line in ax.lines] == [[2, 2]]
    assert ax.lines[0].get_label() == "a"


def test_a_box_is_outlined_in_white():
    image = np.zeros((40, 80, 3), np.uint8)
    found = outlined(image, [(2.0, 3.0, 6.0, 8.0)], (20, 40))
    white = (found == 255).all(2)
    assert white[4:6, 4:12].all()  # above the box, whose corners are (4, 6) and (12, 16)
    assert not white[6:16, 4:12].any()
    assert not image.any()


@pytest.mark.slide("30")
def test_captioners_have_a_bar_for_each_score():
    rows = {"a": [{"x": 0.5}, {"x": 0.375}], "b": [{"x": 0.25, "y": 0.75, "y_shuffled": 0.125}]}
    first, second = captioners(rows, {"x": "X", "y": "Y"}, {"x": 0.0625}, unfinished=["b"]).axes
    assert [bar.get_width() for bar in first.patches] == [0.4375, 0.25]
    assert [bar.get_hatch() for bar in first.patches] == [None, "//"]
    assert list(first.lines[0].get_xdata()) == [0.5, 0.375]
    assert [text.get_text() for text in second.texts] == ["no maps", "0.75"]
    assert second.collections[0].get_segments()[0][0, 0] == 0.125
    assert first.lines[1].get_xdata()[0] == 0.0625


@pytest.mark.slide("28")
def test_each_training_is_a_dot():
    (ax,) = accuracies({"which?": {"a": [0.5, 0.7], "b": [0.9]}}, [("coin", 0.5)]).axes
    assert [len(dots.get_offsets()) for dots in ax.collections] == [2, 1]
    assert [text.get_text() for text in ax.texts] == ["0.50 to 0.70", "0.90 to 0.90", "coin"]


@pytest.mark.slide("29")
def test_sentences_stand_below_their_street():
    first, second = streets_and_sentences([(STREET, ["one", "a b: two"]), (STREET, ["three"])], title="t").axes
    assert (first.get_xlabel(), second.get_xlabel()) == ("one\n$\\bf{a\\ b}$: two", "three")
