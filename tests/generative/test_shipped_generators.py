"""The shipped auto-encoder, VAE, GAN and diffusion: their cards, their order, and that they draw no copies."""

import pytest
import torch
from shipped import ShippedScores, carded, check_card
from sklearn.decomposition import PCA

from lecture_utils import datasets, recipes, tasks
from lecture_utils.datasets import ObjectCrops
from lecture_utils.tasks.generation import stack_images

GENERATORS = ("vae", "gan", "diffusion")


@pytest.fixture(scope="module")
def scores():
    return ShippedScores()


@pytest.fixture(scope="module")
def unseen():
    return stack_images(tasks.object_crop_data("test"))


@pytest.fixture(scope="module")
def learned_from():
    """The training images and their mirror images, as training shows them."""
    transforms = tasks.photo_transforms()
    images = stack_images(
        ObjectCrops("train", datasets.CLASSIFICATION_SCENES["train"], size=datasets.CROP_SIZE, transforms=transforms)
    )
    return torch.cat([images, images.flip(3)])


@pytest.fixture(scope="module")
def noise(unseen):
    """Noise with the mean and the deviation of each pixel."""
    dice = torch.Generator().manual_seed(0)
    return unseen.mean(0) + unseen.std(0) * torch.randn(unseen.shape, generator=dice)


@pytest.mark.slide("38")
def test_the_auto_encoder_scores_what_its_card_says(scores):
    check_card("autoencoder", scores["autoencoder"], tolerance=0.001)


@pytest.mark.slide("37")
@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_scores_what_its_card_says(scores, name):
    shares = dict.fromkeys(("precision", "recall", "sure"), 0.005)
    check_card(name, scores[name], tolerance={"frechet": 0.05, **shares})  # a number of two or three digits


@pytest.mark.slide("37")
def test_photographs_come_before_diffusion_and_gan_then_vae_then_noise(scores, unseen, noise):
    distance = {name: carded(name)["frechet"] for name in GENERATORS}
    distance["photographs"] = tasks.evaluate_samples(stack_images(tasks.object_crop_data("val")), unseen)["frechet"]
    distance["noise"] = tasks.evaluate_samples(noise, unseen)["frechet"]
    best = max(distance["diffusion"], distance["gan"])
    assert 5 * distance["photographs"] < min(distance["diffusion"], distance["gan"])
    assert 3 * best < distance["vae"]
    assert 1.5 * distance["vae"] < distance["noise"]
    assert distance["diffusion"] < 0.8 * distance["gan"]


@pytest.mark.slide("37")
def test_the_vae_covers_least_of_the_photographs(scores):
    assert scores["vae"]["recall"] < 0.65
    assert min(scores["gan"]["recall"], carded("diffusion")["recall"]) > 0.85


@pytest.mark.slide("37")
def test_the_classifier_is_sure_of_most_drawings_of_diffusion_and_gan(scores, unseen):
    real = tasks.evaluate_samples(unseen, unseen)["sure"]
    assert real > carded("diffusion")["sure"] > scores["gan"]["sure"] > scores["vae"]["sure"]
    assert carded("diffusion")["sure"] >= 0.7
    assert scores["gan"]["sure"] >= 0.6


@pytest.mark.slide("37")
def test_no_score_alone_tells_good_drawings(unseen):
    """The classifier is sure of much noise, and one image again and again is as precise as can be."""
    dice = torch.Generator().manual_seed(0)
    white = tasks.evaluate_samples(torch.randn(unseen.shape, generator=dice), unseen)
    assert white["sure"] > 0.3
    assert white["frechet"] > 300
    same = tasks.evaluate_samples(unseen.mean(0).expand(unseen.shape), unseen)
    assert same["precision"] == 1
    assert same["recall"] < 0.01


@pytest.mark.slide("38")
def test_the_auto_encoder_explains_more_than_pca_with_as_many_numbers(scores, unseen, learned_from):
    latent = recipes.load("autoencoder").latent
    pca = PCA(latent, svd_solver="randomized", random_state=0).fit(learned_from.flatten(1).numpy())
    flat = unseen.flatten(1).numpy()
    left = pca.inverse_transform(pca.transform(flat)) - flat
    explained = 1 - (left**2).sum() / ((flat - flat.mean(0)) ** 2).sum()
    assert scores["autoencoder"]["explained"] > explained + 0.02


@pytest.mark.slide("37")
def test_drawings_are_no_copies(unseen, learned_from):
    """They lie about as far from the nearest training image as photographs do that no model has seen."""

    def nearest(images):
        """Root of the mean squared difference of the pixels."""
        apart = torch.cdist(images.flatten(1), learned_from.flatten(1)).amin(1)
        return apart / images[0].numel() ** 0.5

    of_photographs = nearest(unseen)
    assert nearest(learned_from[:5] + 0.01).max() < 0.1 * of_photographs.min()  # a copy would be found
    for name in GENERATORS:
        of_drawings = nearest(tasks.generate_images(recipes.load(name), 100, seed=1))
        assert of_drawings.min() > 0.8 * of_photographs.min(), name
        assert of_drawings.median() > 0.8 * of_photographs.median(), name
