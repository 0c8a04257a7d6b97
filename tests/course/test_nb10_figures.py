"""What the images of positions and of attention show, read off their artists."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from lecture_course.nb10_vision_transformer.figures import (
    attention_row,
    one_similarity,
    similarity_grid,
)
from lecture_utils.transformers import ViT, class_token_attention, position_similarity, rollout


@pytest.fixture
def similarity():
    torch.manual_seed(0)
    return position_similarity(torch.randn(1, 1 + 3 * 4, 8), (3, 4))


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
def test_each_patch_has_its_map_at_its_place(similarity):
    ax, bar = similarity_grid(similarity, title="t").axes
    shown = np.ma.filled(ax.images[0].get_array(), np.nan)
    assert shown.shape == (3 * 4 - 1, 4 * 5 - 1)
    for row, column in np.ndindex(3, 4):
        tile = shown[4 * row : 4 * row + 3, 5 * column : 5 * column + 4]
        np.testing.assert_allclose(tile, similarity[row, column])
    assert np.isnan(shown[3]).all()
    assert np.isnan(shown[:, 4]).all()
    assert ax.get_xlabel() == "column of the patch"
    assert "cosine" in bar.get_ylabel()


@pytest.mark.slide("31")
def test_one_map_is_drawn_on_the_scale_of_all(similarity):
    ax, _ = one_similarity(similarity, (2, 1)).axes
    np.testing.assert_allclose(ax.images[0].get_array(), similarity[2, 1])
    assert ax.images[0].get_clim() == (min(0, similarity.min()), 1)
    assert [(p.get_x(), p.get_y()) for p in ax.patches] == [(0.5, 1.5)]  # the column runs along x


@pytest.mark.slide("31")
def test_maps_of_the_class_token_are_its_row_without_itself():
    model = ViT(num_classes=2, image_size=(8, 12), patch_size=4, dim=6, depth=2, heads=2)
    flow = rollout(model.attention_maps(torch.randn(3, 3, 8, 12)))
    maps = class_token_attention(flow, model.grid)
    assert maps.shape == (3, 2, 3)
    torch.testing.assert_close(maps[1, 0, 2], flow[1, 0, 3])
    torch.testing.assert_close(maps[2, 1, 0], flow[2, 0, 4])


def test_pictures_stand_above_their_maps():
    images = torch.randint(0, 256, (3, 3, 12, 12), dtype=torch.uint8)
    fig = attention_row(list(images), torch.rand(3, 2, 2), ["a", "b", "c"])
    assert [ax.get_title() for ax in fig.axes[:-1]] == ["a", "b", "c", "", "", ""]
    with pytest.raises(ValueError, match="got 3 images, 2 maps and 3 names"):
        attention_row(list(images), torch.rand(2, 2, 2), ["a", "b", "c"])
