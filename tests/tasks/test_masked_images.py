"""Masked image modelling as a task: images and masks, the codebook, the loss, and the guesses it is held against."""

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt
from torch.utils.data import TensorDataset

from lecture_utils import runtime, tasks
from lecture_utils.tasks.masked_images import (
    GRID,
    MOST,
    PATCH,
    baselines,
    codebook,
    learn_codebook,
    nearest_visible,
)
from lecture_utils.tasks.photos import to_photo
from lecture_utils.transformers import BEiT, MaskedImageModel, VisualTokens, masked_token_loss

pytestmark = pytest.mark.slide("34")


def tiny(words: int = 8) -> MaskedImageModel:
    backbone = BEiT((96, 96), patch_size=PATCH, dim=8, depth=1, heads=2)
    return MaskedImageModel(backbone, VisualTokens(words, PATCH))


@pytest.fixture(scope="module")
def sample():
    return tasks.masked_data("val", runtime.resource_path("sample"))


def test_pictures_come_without_labels_at_96_pixels(sample):
    image, mask = sample[3]
    assert len(sample) == 32
    assert image.shape == (3, 96, 96)
    assert type(image) is torch.Tensor
    assert mask.shape == GRID == (12, 12)
    assert 0.3 * 144 < mask.sum() <= MOST
    assert round(100 * MOST / 144) == round(100 * 75 / 196)  # the paper's share


def test_scenes_to_be_scored_are_hidden_in_the_same_places_each_time(sample):
    assert all(torch.equal(sample[i][1], sample[i][1]) for i in range(5))
    assert not torch.equal(sample[0][1], sample[1][1])


def test_scenes_to_learn_from_are_hidden_anew(tmp_path):
    (tmp_path / "train").symlink_to(runtime.resource_path("sample") / "cityscapes_data/val")
    data = tasks.masked_data("train", tmp_path)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not torch.equal(data[0][1], data[0][1])
        assert any(not torch.equal(data[0][0], data[0][0]) for _ in range(20))  # flipped now and then


def test_the_codebook_finds_the_kinds_of_patches_there_are():
    dice = torch.Generator().manual_seed(0)
    kinds = torch.randn(6, 3 * 4 * 4, generator=dice)
    images = VisualTokens(6, 4)
    images.set_codebook(kinds)
    pictures = images.decode(torch.randint(6, (40, 12), generator=dice), (3, 4))
    found = codebook(TensorDataset(pictures), 6, patch=4, patches=400)
    apart = torch.cdist(images.codebook.float(), found)
    assert apart.min(1).values.max() < 0.05
    assert apart.argmin(1).unique().numel() == 6


def test_the_codebook_is_that_of_its_seed(sample):
    one, same, other = (codebook(sample, 5, patches=500, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.shape == (5, 3 * PATCH * PATCH)


def test_a_new_model_learns_its_words_before_it_is_trained(sample):
    model = tiny()
    assert not model.tokens.codebook.any()
    tasks.masked_images.MASKED_IMAGES.prepare(model, sample)
    assert tasks.masked_images.MASKED_IMAGES.prepare is learn_codebook
    images = torch.stack([sample[i][0] for i in range(8)])
    painted = model.tokens.decode(model.tokens(images), GRID)
    mean = images.mean((0, 2, 3), keepdim=True)
    assert (painted - images).square().mean() < 0.5 * (mean - images).square().mean()


def test_the_loss_is_that_of_the_words_of_hidden_patches(sample):
    model = tiny()
    learn_codebook(model, sample)
    batch = tuple(torch.stack(parts) for parts in zip(*(sample[i] for i in range(3)), strict=True))
    expected = masked_token_loss(model(*batch), model.tokens(batch[0]), batch[1])
    assert torch.equal(tasks.masked_loss(sample)(model, batch), expected)


def test_scores_count_hidden_patches_alone(sample):
    """A model that says the same word everywhere is right as often as that word occurs among the hidden."""
    model = tiny()
    learn_codebook(model, sample)
    torch.nn.init.zeros_(model.predict.weight)
    model.predict.bias.data = torch.eye(8)[3]
    scores = tasks.masked_images.score_masked(model, sample, runtime.setup(quiet=True))
    images, masks = (torch.stack(parts) for parts in zip(*(sample[i] for i in range(32)), strict=True))
    hidden_words = model.tokens(images)[masks.flatten(1)]
    assert scores["accuracy"] == pytest.approx((hidden_words == 3).float().mean().item())
    commonest = hidden_words.bincount(minlength=8).max() / len(hidden_words)
    assert scores["accuracy_majority"] == pytest.approx(commonest.item())
    assert scores["accuracy_majority"] <= scores["accuracy_place"] < 1


def test_the_commonest_word_of_a_place_is_counted_there():
    truth = torch.tensor([[0, 1, 2], [0, 1, 2], [1, 1, 2], [0, 0, 1]]).repeat(1, 48)  # 144 places
    hidden = torch.ones_like(truth, dtype=torch.bool)
    guesses = baselines(truth, hidden)
    assert guesses["accuracy_place"][0, :3].tolist() == [0, 1, 2]
    assert guesses["accuracy_majority"].unique().tolist() == [1]
    hidden[:2, 0] = False  # what is visible does not count: one 1 and one 0 are left, the lower number wins
    assert baselines(truth, hidden)["accuracy_place"][0, 0] == 0


def test_the_nearest_visible_patch_is_scipys():
    masks = torch.rand(6, *GRID, generator=torch.Generator().manual_seed(0)) < 0.6
    nearest = nearest_visible(masks.flatten(1))
    rows, columns = np.indices(GRID)
    for mask, found in zip(masks, nearest, strict=True):
        visible = ~mask.flatten()
        assert visible[found].all()
        y, x = found.numpy().reshape(GRID) // GRID[1], found.numpy().reshape(GRID) % GRID[1]
        np.testing.assert_allclose(np.hypot(rows - y, columns - x), distance_transform_edt(mask.numpy()))


@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 3, 4, 6)])
def test_a_photograph_comes_back(shape):
    photo = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(to_photo(tasks.photo_transforms()(photo)), photo)
    assert to_photo(torch.full((3, 1, 1), 99.0)).min() == 255
