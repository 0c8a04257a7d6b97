"""Generation as a task: images without labels, the four losses, drawings and what judges them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import tv_tensors

from lecture_utils import checkpoints, city_models, runtime, tasks
from lecture_utils.datasets import ObjectCrops
from lecture_utils.generative import GAN, VAE, Diffusion, frechet_distance, kl_divergence, precision_and_recall
from lecture_utils.tasks import generation

pytestmark = pytest.mark.slide("37")

RUN = runtime.Runtime("laptop", "cpu", "fp32", "quick", 5, "")


class Drawn(nn.Module):
    """Draws noise and keeps how many were asked for."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def sample(self, count, *, generator):
        self.asked.append((count, self.training))
        return torch.randn(count, 3, 32, 32, generator=generator)


@pytest.fixture
def images():
    return torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def portraits():
    return ObjectCrops("val", 40, size=32, transforms=tasks.photo_transforms())


@pytest.fixture(scope="module")
def classifier():
    return checkpoints.load_weights(city_models.resnet(), "resnet").eval()


def test_portraits_are_painted_for_each_split(monkeypatch):
    monkeypatch.setattr(tasks.classification, "CLASSIFICATION_SCENES", {"train": 4, "val": 3, "test": 2})
    data = tasks.object_crop_data("val")
    assert isinstance(data, ObjectCrops)
    assert data[0][0].dtype == torch.float32
    assert data[0][0].shape == (3, 32, 32)
    assert tasks.object_crop_data("test", size=20)[0][0].shape == (3, 20, 20)
    with pytest.raises(ValueError, match="root: got x, expected none"):
        tasks.object_crop_data("val", "x")
    with pytest.raises(ValueError, match="split: got 'dev', expected one of train, val, test"):
        tasks.object_crop_data("dev")


def test_pictures_are_those_of_the_data_set_in_order(portraits):
    stacked = generation.stack_images(portraits)
    assert type(stacked) is torch.Tensor
    assert isinstance(portraits[0][0], tv_tensors.Image)
    assert stacked.shape == (len(portraits), 3, 32, 32)
    assert all(torch.equal(picture, portraits[i][0]) for i, picture in enumerate(stacked))


@pytest.mark.slide("38")
def test_the_auto_encoders_loss_is_the_squared_error(images):
    expected = (0.3 * images).square().mean()
    torch.testing.assert_close(tasks.generation.reconstruction_loss(None)(lambda x: 0.7 * x, (images, None)), expected)


def test_the_vaes_loss_is_the_negative_elbo_of_a_pixel(images):
    mean, log_variance = torch.randn(2, 6, 4)
    loss = tasks.generation.elbo_loss(None)(lambda x: (0.5 * x, mean, log_variance), (images, None))
    error = (0.5 * images).square().flatten(1).sum(1) / (2 * 0.5**2)  # pixels have deviation 0.5
    torch.testing.assert_close(loss, (error + kl_divergence(mean, log_variance)).mean() / (3 * 8 * 8))


def test_the_gans_loss_is_that_of_both_players(images):
    model = GAN(latent=4, size=8, widths=(4,), discriminator_widths=(4,))
    torch.manual_seed(0)
    losses = model(images)
    torch.manual_seed(0)
    loss = tasks.generation.adversarial_loss(None)(model, (images, None))
    torch.testing.assert_close(loss, losses["discriminator"] + losses["generator"])


def test_the_loss_of_diffusion_is_that_of_the_velocity(images):
    model = Diffusion(size=8, steps=6, base_channels=2, depth=1).eval()
    torch.manual_seed(0)
    step, noise = torch.randint(6, (6,)), torch.randn_like(images)
    kept = model.alpha_bar[step].view(-1, 1, 1, 1)
    said = model(kept.sqrt() * images + (1 - kept).sqrt() * noise, step)
    torch.manual_seed(0)
    loss = tasks.diffusion_loss(None)(model, (images, None))
    torch.testing.assert_close(loss, F.mse_loss(said, kept.sqrt() * noise - (1 - kept).sqrt() * images))


@pytest.mark.slide("38")
def test_the_share_that_is_explained():
    """All by the image itself, nothing by the mean of all, three quarters where half of the way is gone."""
    images = torch.randn(300, 3, 4, 4, generator=torch.Generator().manual_seed(0)) + 2
    data, middle = [(image, 0) for image in images], images.mean(0)

    class Half(nn.Module):
        def __init__(self, share):
            super().__init__()
            self.share = share

        def forward(self, some):
            assert len(some) <= 250
            assert not self.training
            assert not torch.is_grad_enabled()
            return middle + self.share * (some - middle)

    for share, explained in ((1.0, 1.0), (0.0, 0.0), (0.5, 0.75), (-1.0, -3.0)):
        scores = tasks.generation.score_reconstruction(Half(share), data, RUN)
        assert scores == {"explained": pytest.approx(explained, abs=1e-5)}


@pytest.mark.parametrize(("count", "shares"), [(1, [1]), (100, [100]), (230, [100, 100, 30])])
def test_drawings_come_a_hundred_at_a_time(count, shares):
    model = Drawn().eval()
    drawings = tasks.generate_images(model, count, seed=3)
    assert model.asked == [(share, False) for share in shares]
    dice = torch.Generator().manual_seed(3)
    assert torch.equal(drawings, torch.cat([torch.randn(share, 3, 32, 32, generator=dice) for share in shares]))


@pytest.mark.parametrize("model", [VAE(latent=3, size=8, widths=(4,)), Diffusion(size=8, base_channels=2, depth=1)])
def test_drawings_of_a_model_are_those_of_their_seed(model):
    one, same, other = (tasks.generate_images(model.eval(), 2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert torch.equal(tasks.generate_images(model, 2), one)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("count", [0, -2])
def test_no_drawing_is_refused(count):
    with pytest.raises(ValueError, match=f"count: got {count}, expected a whole number of at least 1"):
        tasks.generate_images(Drawn(), count)


def test_what_is_seen_are_the_features_before_the_head(portraits, classifier):
    images = generation.stack_images(portraits).repeat(8, 1, 1, 1)  # more than a share of 250
    features, scores = generation.extract_features(classifier, images)
    with torch.no_grad():
        torch.testing.assert_close(scores, classifier(images), atol=1e-4, rtol=1e-4)
    assert features.shape == (len(images), classifier.head.in_features)
    torch.testing.assert_close(classifier.head(features), scores)


def test_photographs_pass_for_photographs(portraits, classifier):
    images = generation.stack_images(portraits)
    scores = tasks.evaluate_samples(images, images)
    assert scores["frechet"] == pytest.approx(0, abs=1e-3)
    assert scores["precision"] == scores["recall"] == 1
    with torch.no_grad():
        sure = (classifier(images).softmax(1).max(1).values >= 0.9).float().mean().item()
    assert scores["sure"] == pytest.approx(sure)
    assert 0.5 < sure < 1


def test_the_judge_sees_large_drawings_reduced(classifier):
    drawings = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    reduced = F.interpolate(drawings, (32, 32), mode="bilinear", antialias=True)
    wanted, found = (generation.extract_features(classifier, images) for images in (reduced, drawings))
    torch.testing.assert_close(found, wanted)


def test_the_judge_holds_drawings_against_photographs(portraits, classifier):
    """Which of the two is which matters: precision asks about drawings, recall about photographs."""
    photographs = generation.stack_images(portraits)
    drawings = photographs[:10] + 0.5 * torch.randn(10, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    (drawn, said), (real, _) = (generation.extract_features(classifier, images) for images in (drawings, photographs))
    scores = tasks.evaluate_samples(drawings, photographs)
    assert scores["frechet"] == pytest.approx(frechet_distance(real, drawn))
    assert (scores["precision"], scores["recall"]) == precision_and_recall(real, drawn)
    assert scores["precision"] != scores["recall"]
    assert scores["sure"] == pytest.approx((said.softmax(1).max(1).values >= 0.9).float().mean().item())


def test_as_many_drawings_are_scored_as_there_are_pictures(portraits):
    model = Drawn()
    scores = tasks.generation.score_samples(model, portraits, RUN)
    assert model.asked == [(len(portraits), False)]
    assert scores == tasks.evaluate_samples(
        tasks.generate_images(model, len(portraits), seed=RUN.seed), generation.stack_images(portraits)
    )
