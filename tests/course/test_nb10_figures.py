"""What the images of filters, positions and attention show, read off their artists; the drawing shows its tensors."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from torch.nn.functional import cosine_similarity

from lecture_course.nb10_vision_transformer import figures as nb10
from lecture_course.nb10_vision_transformer.drawing import vit_drawing, vit_steps
from lecture_utils.figures.style import GREEN, VERMILION
from lecture_utils.transformers import ViT, class_token_attention, position_similarity, rollout

WINDOW = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
NAMES = ("a", "b", "c", "d", "e")


@pytest.fixture
def similarity():
    torch.manual_seed(0)
    return position_similarity(torch.randn(1, 1 + 3 * 4, 8), (3, 4))


@pytest.fixture
def vit():
    torch.manual_seed(0)
    return ViT(num_classes=5, image_size=(24, 24), patch_size=6, dim=8, depth=2, heads=2).eval()


@pytest.mark.slide("31")
def test_similarity_is_torchs_between_places_of_patches():
    positions = torch.randn(1, 1 + 2 * 3, 5)
    found = position_similarity(positions, (2, 3))
    for row, column in np.ndindex(2, 3):
        expected = cosine_similarity(positions[0, 1 + 3 * row + column][None], positions[0, 1:])
        torch.testing.assert_close(found[row, column], expected.view(2, 3))
    with pytest.raises(ValueError, match=r"pos_embed: got \(1, 7, 5\), expected \(1, 1 \+ 3 · 3, d\)"):
        position_similarity(positions, (3, 3))


@pytest.mark.slide("31")
def test_each_chosen_patch_has_its_map_with_0_in_the_middle_of_the_colours(similarity):
    places = [(0, 0), (1, 2), (2, 3), (2, 0)]
    *axes, bar = nb10.position_maps(similarity, places, title="t").axes
    for ax, at in zip(axes, places, strict=False):
        np.testing.assert_allclose(ax.images[0].get_array(), similarity[at])
        assert ax.images[0].get_clim() == (-1, 1)
        assert [(p.get_x(), p.get_y()) for p in ax.patches] == [(at[1] - 0.5, at[0] - 0.5)]
    assert [ax.get_visible() for ax in axes] == [True] * 4 + [False] * 2
    assert bar.get_ylabel() == "cosine"


@pytest.mark.slide("31")
def test_one_map_is_drawn_on_the_scale_of_all(similarity):
    ax, _ = nb10.one_similarity(similarity, (2, 1)).axes
    np.testing.assert_allclose(ax.images[0].get_array(), similarity[2, 1])
    assert ax.images[0].get_clim() == (-1, 1)
    assert [(p.get_x(), p.get_y()) for p in ax.patches] == [(0.5, 1.5)]  # the column runs along x


@pytest.mark.slide("31")
def test_filters_are_grey_where_they_are_0():
    filters = torch.zeros(7, 3, 2, 2)
    filters[:, 0, 0, 0] = torch.tensor([1.0, -2, 3, 4, 5, 6, 7])
    fig = nb10.filter_rows({"trained": filters, "fresh": filters[:2]})
    shown = [ax.images[0].get_array() for ax in fig.get_axes() if ax.images]
    assert len(shown) == 9
    assert shown[0][0, 0].tolist() == [1, 0.5, 0.5]
    assert shown[1][0, 0].tolist() == [0, 0.5, 0.5]
    assert (shown[2][1] == 0.5).all()


@pytest.mark.slide("31")
def test_maps_of_the_class_token_are_its_row_without_itself(vit):
    flow = rollout(vit.attention_maps(torch.randn(3, 3, 24, 24)))
    maps = class_token_attention(flow, vit.grid)
    assert maps.shape == (3, 4, 4)
    torch.testing.assert_close(maps[1, 0, 2], flow[1, 0, 3])
    torch.testing.assert_close(maps[2, 1, 0], flow[2, 0, 5])


@pytest.mark.slide("31")
def test_maps_are_compared_at_the_same_multiples_of_their_means():
    flat, peak = torch.ones(4, 4), torch.ones(4, 4)
    peak[1, 2] = 30
    first, second = nb10.attention_pair(WINDOW, {"a": flat, "b": peak}).axes
    (contours,) = second.collections
    assert contours.levels.tolist() == list(nb10.LEVELS)
    assert max(len(path.vertices) for path in contours.get_paths()) > 10
    assert all(not len(path.vertices) for path in first.collections[0].get_paths())
    assert (first.get_title(), second.get_title()) == ("a: up to 1 times the mean", "b: up to 11 times the mean")


@pytest.mark.slide("31")
def test_wrong_answers_are_framed():
    images = [torch.randint(0, 256, (3, 12, 12), dtype=torch.uint8)] * 3
    axes = nb10.answers(images, ["a", "b", "c"], [True, False, True], torch.rand(3, 2, 2)).axes
    assert [ax.get_title() for ax in axes] == ["✓ a", "✗ b", "✓ c", ""]
    assert [ax.spines["left"].get_visible() for ax in axes[:3]] == [False, True, False]
    assert to_hex(axes[1].spines["left"].get_edgecolor()) == VERMILION.lower()
    assert [len(ax.collections) for ax in axes] == [1, 1, 1, 0]
    assert not axes[3].get_visible()
    assert len(nb10.answers(images, ["a", "b", "c"], [True] * 3, columns=3).axes) == 3
    shown = [
        ax.images[0].get_array() for ax in nb10.answers(images[:1], ["a"], [True], small=images[1:2], columns=1).axes
    ]
    for one, given in zip(shown, images, strict=False):
        np.testing.assert_array_equal(one, given.permute(1, 2, 0))
    with pytest.raises(ValueError, match="got 3 images, 3 names, 2 verdicts"):
        nb10.answers(images, ["a", "b", "c"], [True, False])


@pytest.mark.slide("31")
def test_each_head_has_its_distance_over_its_layer():
    numbers = torch.tensor([[1.0, 2], [3, 4], [9, 5]])
    ax, other = nb10.heads_by_layer({"distance": (numbers, 6.0), "patches": (2 * numbers, 64.0)}).axes
    assert (ax.get_title(), other.get_title()) == ("distance", "patches")
    assert other.get_ylim()[1] > 64
    dots = [dots.get_offsets() for dots in ax.collections]
    assert [sorted(layer[:, 1].tolist()) for layer in dots] == [[1, 2], [3, 4], [5, 9]]
    assert [round(layer[:, 0].mean()) for layer in dots] == [1, 2, 3]
    assert ax.get_ylim()[0] == 0
    assert ax.get_ylim()[1] > 9


@pytest.mark.slide("31")
def test_one_place_is_compared_beside_the_mean_image(similarity):
    panels = {"content": similarity, "positions": similarity.flip(0)}
    image, *axes, bar = nb10.content_and_positions(
        torch.from_numpy(WINDOW).permute(2, 0, 1).float(), panels, (2, 1)
    ).axes
    np.testing.assert_allclose(image.images[0].get_array(), WINDOW.mean(2), rtol=1e-5)
    for ax, (name, alike) in zip(axes, panels.items(), strict=True):
        np.testing.assert_allclose(ax.images[0].get_array(), alike[2, 1])
        assert (ax.get_title(), ax.images[0].get_clim()) == (name, (-1, 1))
    assert bar.get_ylabel() == "cosine"


@pytest.mark.slide("32")
def test_losses_have_a_band_from_seed_to_seed():
    runs = [[1.0] * 10 + [2.0] * 10, [3.0] * 10 + [2.0] * 10]
    ax = nb10.first_losses({"ViT": runs}, title="t").axes[0]
    assert ax.get_lines()[0].get_xydata().tolist() == [[10, 2], [20, 2]]
    heights = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (1, 3)
    assert ax.get_ylim()[0] == 0


@pytest.mark.slide("32")
def test_accuracies_are_dots_on_a_scale_of_mistakes_and_lines_are_named():
    runs = {"ViT": [[0.5, 0.8], [0.7, 0.9]], "ResNet": [[0.6, 0.9], [0.6, 0.9]]}
    left, right = nb10.accuracy_curves({"streets": ((500, 4000), runs), "steps": ((4, 8), runs)}, title="t").axes
    assert (left.get_xlabel(), right.get_xlabel()) == ("streets", "steps")
    np.testing.assert_allclose(left.get_lines()[0].get_xydata(), [[500, 0.4], [4000, 0.15]])
    np.testing.assert_allclose(left.collections[0].get_offsets(), [[500, 0.5], [4000, 0.2], [500, 0.3], [4000, 0.1]])
    bottom, top = left.get_ylim()
    assert top < 0.1 < 0.5 < bottom
    places = {text.get_text(): text.xy[1] for text in left.texts}
    assert places["ViT"] == pytest.approx(0.15)
    assert places["ResNet"] < places["ViT"] / 1.2  # above, and not upon it
    with pytest.raises(ValueError, match=r"got shape \(2, 2\) of 'ViT', expected \(seeds, 3\)"):
        nb10.accuracy_curves({"streets": ((1, 2, 3), runs)})


@pytest.mark.slide("32")
def test_a_lead_is_filled_where_its_interval_leaves_0():
    ax = nb10.lead_bars({"clear": (0.2, 0.1, 0.3, 50), "open": (0.1, -0.1, 0.2, 9)}, xlabel="lead").axes[0]
    faces = [to_hex(dots.get_facecolor()[0]) for dots in ax.collections]
    assert faces == [GREEN.lower(), "#ffffff"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["clear (50)", "open (9)"]


@pytest.mark.slide("31")
def test_dots_tell_their_numbers_and_few_are_hollow():
    columns = {"hits": [(30, 40), (1, 1)], "misses": [(0, 2), (0, 0)]}
    ax = nb10.by_group(["small", "large"], columns, ylabel="y").axes[0]
    dots = [dots for dots in ax.collections if len(dots.get_offsets())]
    assert [dot.get_offsets()[0, 1] for dot in dots] == [0.75, 1, 0]
    assert [to_hex(dot.get_facecolor()[0]) == "#ffffff" for dot in dots] == [False, True, True]
    assert [text.get_text() for text in ax.texts] == ["30 of 40", "1 of 1", "0 of 2"]
    low, high = ax.lines[0].get_ydata()
    assert 0.55 < low < 0.65
    assert 0.8 < high < 0.9


@pytest.mark.slide("31")
def test_a_vit_is_drawn_from_its_own_tensors(vit):
    """The framed patch's row in every table, the maps and the answer are those that the model gives."""
    image = torch.randn(1, 3, 24, 24)
    drawing = vit_drawing(vit, image, (1, 2), NAMES)
    parts = {part.name: part for part in drawing.blocks}
    encoded, maps = vit.encode(image, need_weights=True)
    torch.testing.assert_close(parts["z₀"].value, vit.embed(image)[0])
    torch.testing.assert_close(parts["projected"].value, vit.patch_embed(image)[0].flatten(1).T)
    torch.testing.assert_close(parts["attention 2"].value, maps[0, 1].mean(0))
    torch.testing.assert_close(parts["after layer 2"].value, encoded[0])
    torch.testing.assert_close(parts["row 1"].value, encoded[0, 0])
    probabilities = vit(image)[0].softmax(-1)
    assert next(iter(parts["class"].value)) == NAMES[probabilities.argmax()]
    assert parts["one patch"].words == "108"
    assert parts["projected"].marks[0][:4] == (0, 6, 8, 7)
    assert parts["z₀"].marks[0][:4] == (0, 7, 8, 8)  # one row further down
    assert parts["image"].marks[0][:4] == (12, 6, 18, 12)
    assert parts["patches"].marks[0][:4] == (14, 7, 20, 13)  # thumbnails of 6 pixels with gaps of 1
    with pytest.raises(ValueError, match=r"at: got \(4, 0\) for 1 images"):
        vit_drawing(vit, image, (4, 0), NAMES)


@pytest.mark.slide("31")
def test_the_words_of_every_step_fit(vit):
    """`draw_network` refuses sentences that are too long."""
    page = vit_steps(vit, torch.randn(1, 3, 24, 24), (1, 2), NAMES)
    assert len(page.places) == 12
