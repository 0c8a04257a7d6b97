"""Diffusion against its papers: the schedule, the closed form of the noise, and every stride of the samplers.

Equation numbers are those of the papers: DDPM is Ho et al. 2020, DDIM Song et al. 2021.
"""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lecture_utils.generative import (
    Diffusion,
    add_noise,
    cosine_alpha_bar,
    denoising_loss,
    diffusion,
    predict_x0_and_noise,
    velocity,
)
from lecture_utils.generative.diffusion import sampling_copy, timestep_embedding, timesteps

pytestmark = pytest.mark.slide("37")


@pytest.fixture
def dice():
    return torch.Generator().manual_seed(0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def tiny(**changed):
    return Diffusion(**{"size": 5, "steps": 7, "channels": 2, "base_channels": 2, "depth": 1} | changed)


def stub(foretold, **changed):
    """A diffusion model in float64 whose network is predicted(noisy, ᾱ of its step) → v."""
    model = tiny(**changed).double()
    model.forward = lambda noisy, step: foretold(noisy, model.alpha_bar[step][:, None, None, None])
    return model


def strange(noisy, alpha_bar):
    """No net would say this, but any may: the sampler's equations hold for whatever is predicted."""
    return torch.tanh(1.5 * noisy) + alpha_bar - 0.3


def rolled(model, generator, **options):
    """The noisy and the clean images of a trajectory, (stops + 1, …) each."""
    return map(torch.stack, zip(*model.trajectory(generator=generator, **options), strict=True))


# The schedule


@pytest.mark.parametrize("steps", [1, 10, 1000])
def test_the_kept_share_is_that_of_nichol_and_dhariwal(steps):
    def f(t):
        return math.cos((t / steps + 0.008) / 1.008 * math.pi / 2) ** 2

    share, expected = 1.0, []
    for t in range(1, steps + 1):
        share *= 1 - min(1 - f(t) / f(t - 1), 0.999)  # equation 17, and β ≤ 0.999 below it
        expected.append(share)
    assert cosine_alpha_bar(steps).tolist() == pytest.approx(expected, rel=1e-5)
    assert cosine_alpha_bar(steps).dtype == torch.float32


def test_the_kept_share_falls_from_nearly_1_to_nearly_0():
    alpha_bar = cosine_alpha_bar(1000)
    assert (alpha_bar.diff() < 0).all()
    assert alpha_bar[0] > 0.9999
    assert 0 < alpha_bar[-1] < 1e-5
    assert cosine_alpha_bar(1000, offset=0.5)[0] < alpha_bar[0]


def test_the_schedule_is_no_weight():
    model = tiny()
    assert "alpha_bar" not in model.state_dict()
    torch.testing.assert_close(model.alpha_bar, cosine_alpha_bar(7))


@pytest.mark.parametrize(
    ("steps", "num_inference_steps", "expected"),
    [(10, 10, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]), (10, 2, [9, 0]), (1001, 5, [1000, 750, 500, 250, 0])],
)
def test_strides_are_even_and_end_at_0(steps, num_inference_steps, expected):
    assert timesteps(steps, num_inference_steps) == expected


@pytest.mark.parametrize("num_inference_steps", [1, 8, 0, -3])
def test_stops_beyond_the_steps_are_refused(num_inference_steps):
    with pytest.raises(
        ValueError, match=f"num_inference_steps: got {num_inference_steps}, expected 2 to 7, the number of steps"
    ):
        tiny().sample(1, num_inference_steps=num_inference_steps)


@pytest.mark.parametrize("eta", [-0.1, 1.5, float("nan")])
def test_a_chance_that_is_no_share_is_refused(eta):
    with pytest.raises(ValueError, match=f"eta: got {eta}, expected 0 to 1"):
        tiny().sample(1, num_inference_steps=3, eta=eta)


@pytest.mark.parametrize("name", ["size", "steps", "channels"])
def test_a_model_of_nothing_is_refused(name):
    with pytest.raises(ValueError, match=f"{name}: got 0, expected a whole number of at least 1"):
        tiny(**{name: 0})


def test_no_image_at_all_is_refused():
    with pytest.raises(ValueError, match="count: got 0"):
        tiny().sample(0, num_inference_steps=2)


# The closed form


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (4, 3, 5, 7)])
def test_noised_and_velocity_are_turned_back(dice, shape):
    image, noise = torch.randn(2, *shape, generator=dice, dtype=torch.float64)
    alpha_bar = torch.rand(shape[0], generator=dice, dtype=torch.float64)
    found = predict_x0_and_noise(add_noise(image, noise, alpha_bar), velocity(image, noise, alpha_bar), alpha_bar)
    torch.testing.assert_close(found, (image, noise))
    again = add_noise(*found, alpha_bar), velocity(*found, alpha_bar)
    torch.testing.assert_close(again, (add_noise(image, noise, alpha_bar), velocity(image, noise, alpha_bar)))


def test_each_image_of_a_batch_has_a_step_of_its_own(dice):
    image, noise = torch.randn(2, 3, 2, 3, 3, generator=dice)
    alpha_bar = torch.tensor([1.0, 0.25, 0.0])
    dirty, speed = add_noise(image, noise, alpha_bar), velocity(image, noise, alpha_bar)
    torch.testing.assert_close(dirty, torch.stack([image[0], 0.5 * image[1] + 0.75**0.5 * noise[1], noise[2]]))
    torch.testing.assert_close(speed, torch.stack([noise[0], 0.5 * noise[1] - 0.75**0.5 * image[1], -image[2]]))


def test_step_by_step_comes_to_the_same_as_all_at_once(dice):
    """Equations 2 and 4: the image's factor is exact, the noise's variance measured on many pixels."""
    alpha_bar = cosine_alpha_bar(20).double()
    image = torch.full((1, 1, 200, 300), 3.0, dtype=torch.float64)
    still, dirty = image, image
    for step in range(15):
        left = (alpha_bar[step] / alpha_bar[step - 1] if step else alpha_bar[0])[None]  # 1 − β of this step
        still = add_noise(still, torch.zeros_like(image), left)
        dirty = add_noise(dirty, torch.randn(image.shape, generator=dice, dtype=torch.float64), left)
    torch.testing.assert_close(still, add_noise(image, torch.zeros_like(image), alpha_bar[14:15]))
    assert dirty.mean().item() == pytest.approx(still[0, 0, 0, 0].item(), abs=0.02)
    assert dirty.var().item() == pytest.approx(1 - alpha_bar[14].item(), rel=0.02)


# The net and its loss


@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 9), (1, 2)])
def test_the_net_gives_a_velocity_for_any_size(height, width):
    model = tiny(depth=2).eval()
    assert model(torch.randn(3, 2, height, width), torch.tensor([0, 3, 6])).shape == (3, 2, height, width)


def test_the_net_is_told_the_step_of_each_image(dice):
    model = tiny().eval()
    image = torch.randn(1, 2, 5, 5, generator=dice).repeat(3, 1, 1, 1)
    together = model(image, torch.tensor([0, 3, 6]))
    for i, step in enumerate((0, 3, 6)):
        torch.testing.assert_close(together[i : i + 1], model(image[:1], torch.tensor([step])))
    assert not torch.allclose(together[0], together[1])
    assert not torch.allclose(together[1], together[2])


def test_images_of_other_channels_are_refused():
    with pytest.raises(ValueError, match=r"image: got shape \(1, 3, 5, 5\), expected \(batch, 2, height, width\)"):
        tiny()(torch.zeros(1, 3, 5, 5), torch.tensor([0]))


def test_the_clock_is_sines_and_cosines_and_no_two_steps_read_alike():
    time = torch.arange(1000) / 1000
    read = timestep_embedding(time)
    for wave, hertz in enumerate((1, 2, 4, 8)):
        torch.testing.assert_close(read[:, wave], torch.sin(math.pi * hertz * time), atol=1e-5, rtol=0)
        torch.testing.assert_close(read[:, 4 + wave], torch.cos(math.pi * hertz * time), atol=1e-5, rtol=0)
    assert F.pdist(read).min() > 1e-3


class Watched(nn.Module):
    """Foretells 0 and keeps what it was given."""

    def __init__(self, steps):
        super().__init__()
        self.steps, self.alpha_bar, self.given = steps, cosine_alpha_bar(steps), None

    def forward(self, noisy, step):
        self.given = noisy, step
        return torch.zeros_like(noisy)


def test_the_loss_is_the_squared_velocity_that_is_not_foretold(dice):
    model, image = Watched(9), torch.randn(6, 2, 5, 3, generator=dice)
    torch.manual_seed(0)
    loss = denoising_loss(model, image)
    noisy, step = model.given
    alpha_bar = model.alpha_bar[step][:, None, None, None]
    noise = (noisy - alpha_bar.sqrt() * image) / (1 - alpha_bar).sqrt()
    torch.testing.assert_close(loss, (alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * image).square().mean())
    assert len(set(step.tolist())) > 1


def test_the_loss_draws_every_step_and_normal_noise():
    model = Watched(4)
    torch.manual_seed(0)
    denoising_loss(model, torch.zeros(4000, 1, 2, 2))
    noisy, step = model.given
    assert step.bincount().min() > 900
    assert len(step.bincount()) == 4
    for number, alpha_bar in enumerate(model.alpha_bar):
        assert noisy[step == number].var().item() == pytest.approx(1 - alpha_bar.item(), rel=0.1)


def test_the_loss_of_a_perfect_net_is_0(dice):
    image = torch.randn(1, 1, 4, 4, generator=dice).double()

    def knows(noisy, alpha_bar):
        return velocity(
            image.expand_as(noisy), (noisy - alpha_bar.sqrt() * image) / (1 - alpha_bar).sqrt(), alpha_bar.flatten()
        )

    assert denoising_loss(stub(knows, channels=1), image.expand(8, -1, -1, -1)).item() == pytest.approx(0, abs=1e-9)


# The samplers


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("num_inference_steps", [2, 4, 7])
def test_every_stride_is_equation_12_of_ddim(eta, num_inference_steps):
    model = stub(strange)
    noisy, _ = rolled(model, seeded(), count=3, num_inference_steps=num_inference_steps, eta=eta)
    generator, steps = seeded(), timesteps(7, num_inference_steps)
    x = torch.randn(3, 2, 5, 5, generator=generator).double()
    for i, (now, then) in enumerate(itertools.pairwise(steps)):
        torch.testing.assert_close(noisy[i], x)
        a, b = model.alpha_bar[now].item(), model.alpha_bar[then].item()  # the paper's α of now, and of then
        epsilon = math.sqrt(1 - a) * x + math.sqrt(a) * strange(x, a)
        sigma = eta * math.sqrt((1 - b) / (1 - a)) * math.sqrt(1 - a / b)  # equation 16
        fresh = torch.randn(x.shape, generator=generator).double() if eta else 0.0
        foretold = (x - math.sqrt(1 - a) * epsilon) / math.sqrt(a)
        x = math.sqrt(b) * foretold + math.sqrt(1 - b - sigma**2) * epsilon + sigma * fresh
    torch.testing.assert_close(noisy[-2], x)


def test_with_all_dice_and_all_steps_it_is_ddpm():
    """Mean and variance of q(x_{t−1} | x_t, x₀), equations 6 and 7, with what is predicted for x₀."""
    model = stub(strange)
    noisy, clean = rolled(model, seeded(), count=3, num_inference_steps=7, eta=1.0)
    generator = seeded()
    torch.randn(3, 2, 5, 5, generator=generator)
    for i, step in enumerate(range(6, 0, -1)):
        now, before = model.alpha_bar[step].item(), model.alpha_bar[step - 1].item()
        beta = 1 - now / before
        mean = math.sqrt(before) * beta / (1 - now) * clean[i]
        mean = mean + math.sqrt(1 - beta) * (1 - before) / (1 - now) * noisy[i]
        variance = (1 - before) / (1 - now) * beta
        fresh = torch.randn(3, 2, 5, 5, generator=generator).double()
        torch.testing.assert_close(noisy[i + 1], mean + math.sqrt(variance) * fresh)


def test_all_dice_are_thrown_where_nothing_is_said():
    model = stub(strange)
    plain, all_dice, none = (
        model.sample(2, num_inference_steps=4, generator=seeded(), **options)
        for options in ({}, {"eta": 1.0}, {"eta": 0.0})
    )
    assert torch.equal(plain, all_dice)
    assert not torch.equal(plain, none)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("num_inference_steps", [2, 5, 50])
def test_who_knows_the_image_recovers_it(dice, eta, num_inference_steps):
    image = torch.randn(1, 2, 5, 5, generator=dice, dtype=torch.float64)

    def knows(noisy, alpha_bar):
        return velocity(
            image.expand_as(noisy), (noisy - alpha_bar.sqrt() * image) / (1 - alpha_bar).sqrt(), alpha_bar.flatten()
        )

    model = stub(knows, steps=50)
    samples = model.sample(3, num_inference_steps=num_inference_steps, eta=eta, generator=dice)
    torch.testing.assert_close(samples, image.expand(3, -1, -1, -1))
    for _, clean in model.trajectory(3, num_inference_steps=num_inference_steps, eta=eta, generator=dice):
        torch.testing.assert_close(clean, image.expand(3, -1, -1, -1))


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_the_best_net_for_a_gaussian_draws_from_it(eta):
    """Where all images are N(2, 0.5²) the best guess of the clean one is known, and samples have its moments."""
    middle, spread = 2.0, 0.5

    def best(noisy, alpha_bar):
        certain = spread**2 * alpha_bar.sqrt() / (alpha_bar * spread**2 + 1 - alpha_bar)
        clean = middle + certain * (noisy - alpha_bar.sqrt() * middle)
        return velocity(clean, (noisy - alpha_bar.sqrt() * clean) / (1 - alpha_bar).sqrt(), alpha_bar.flatten())

    model = stub(best, steps=400, channels=1, size=20)
    samples = model.sample(50, num_inference_steps=400, eta=eta, generator=seeded())
    assert samples.mean().item() == pytest.approx(middle, abs=0.02)
    assert samples.std().item() == pytest.approx(spread, rel=0.03)
    across = samples.flatten(1).T.cov()
    assert (across - torch.diag(across.diag())).mean().abs() < 0.01  # pixels stay independent


@pytest.mark.parametrize("num_inference_steps", [2, 3, 7])
def test_a_trajectory_has_its_stops_and_the_images(num_inference_steps):
    pairs = list(tiny().eval().trajectory(2, num_inference_steps=num_inference_steps, generator=seeded()))
    assert len(pairs) == num_inference_steps + 1
    assert all(noisy.shape == clean.shape == (2, 2, 5, 5) for noisy, clean in pairs)
    assert torch.equal(*pairs[-1])
    assert torch.equal(pairs[-1][0], pairs[-2][1])
    assert torch.equal(pairs[0][0], torch.randn(2, 2, 5, 5, generator=seeded()))


def test_fifty_stops_where_nothing_is_said():
    model = stub(strange, steps=60)
    assert len(list(model.trajectory(1))) == 51
    assert torch.equal(model.sample(1, generator=seeded()), model.sample(1, num_inference_steps=50, generator=seeded()))


def test_samples_are_those_of_their_generator():
    model = tiny().eval()
    one, same, other = (model.sample(3, num_inference_steps=3, generator=seeded(seed)) for seed in (1, 1, 2))
    assert one.shape == (3, 2, 5, 5)
    assert not one.requires_grad
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    *_, (last, _) = model.trajectory(3, num_inference_steps=3, generator=seeded(1))
    assert torch.equal(one, last)


def test_the_net_is_asked_at_the_steps_where_it_stops():
    model, asked = tiny(), []
    model.forward = lambda noisy, step: asked.append(step.tolist()) or torch.zeros_like(noisy)
    model.sample(2, num_inference_steps=4, generator=seeded())
    assert asked == [[step] * 2 for step in (6, 4, 2, 0)]


# The copy that samples


def trained(seed, **changed):
    """Random weights, and batch normalisations that have seen data."""
    torch.manual_seed(seed)
    model = tiny(**changed)
    with torch.no_grad():
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm2d):
                nn.init.normal_(norm.weight, 1, 0.2)
                nn.init.normal_(norm.bias, 0, 0.5)
        for _ in range(5):
            model(2 * torch.randn(9, model.channels, model.size, model.size) + 1, torch.randint(model.steps, (9,)))
    return model.eval()


@pytest.mark.parametrize("seed", range(6))
def test_the_copy_that_samples_predicts_the_same(seed):
    rng = torch.Generator().manual_seed(seed)
    bounds = ((1, 4), (1, 4), (2, 9), (1, 20), (1, 20), (1, 9))
    depth, channels, base, height, width, count = (int(torch.randint(*each, (), generator=rng)) for each in bounds)
    model = trained(seed, depth=depth, channels=channels, base_channels=base, size=16)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    noisy, step = torch.randn(count, channels, height, width, generator=rng), torch.full((count,), seed)
    with torch.no_grad():
        torch.testing.assert_close(sampling_copy(model)(noisy, step), model(noisy, step), atol=1e-5, rtol=1e-5)
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


@pytest.mark.parametrize(("count", "size", "eta"), [(1, 5, 0.0), (32, 8, 1.0), (33, 7, 0.5), (70, 6, 1.0)])
def test_samples_are_those_of_the_plain_network(monkeypatch, count, size, eta):
    model = trained(count, size=size, depth=2, base_channels=4)
    given = {"count": count, "num_inference_steps": 7, "eta": eta}
    fast = [*rolled(model, seeded(), **given)]
    monkeypatch.setattr(diffusion, "sampling_copy", lambda model: model)
    monkeypatch.setattr(diffusion, "CPU_BATCH", 1000)
    torch.testing.assert_close(fast, [*rolled(model, seeded(), **given)], atol=1e-4, rtol=1e-4)


def test_in_training_mode_the_net_itself_sees_the_whole_batch():
    model, asked = tiny(), []
    model.register_forward_pre_hook(lambda module, given: asked.append((module, len(given[0]))))
    before = model.unet.bottleneck[1].running_mean.clone()
    model.sample(40, num_inference_steps=2, generator=seeded())
    assert asked == [(model, 40)] * 2
    assert not torch.equal(model.unet.bottleneck[1].running_mean, before)
