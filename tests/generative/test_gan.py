"""The GAN's two losses: whose gradients they have, and that they are binary cross-entropies with R1."""

import pytest
import torch
import torch.nn.functional as F

from lecture_utils.generative import GAN
from lecture_utils.generative.gan import gradient_penalty

pytestmark = pytest.mark.slide("37")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return GAN(latent=4, size=8, channels=1, widths=(4, 6), discriminator_widths=(6, 8))


@pytest.fixture
def photographs():
    return torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def players(model):
    return list(model.discriminator.parameters()), list(model.generator.parameters())


def gradients(loss, weights):
    return torch.autograd.grad(loss, weights, allow_unused=True, retain_graph=True)


@pytest.mark.parametrize(("player", "own", "other"), [("discriminator", 0, 1), ("generator", 1, 0)])
def test_each_loss_has_gradients_for_its_own_player_alone(model, photographs, player, own, other):
    loss = model(photographs)[player]
    assert all(gradient is None for gradient in gradients(loss, players(model)[other]))
    own_gradients = gradients(loss, players(model)[own])
    assert all(gradient is not None for gradient in own_gradients[:-1])
    assert any(gradient.any() for gradient in own_gradients)


def test_the_sum_of_the_losses_moves_both_as_each_by_itself(model, photographs):
    losses = model(photographs)
    both = [weight for weights in players(model) for weight in weights]
    alone = [
        *gradients(losses["discriminator"], players(model)[0]),
        *gradients(losses["generator"], players(model)[1]),
    ]
    for summed, single in zip(gradients(sum(losses.values()), both), alone, strict=True):
        torch.testing.assert_close(summed, single)


def by_hand(model, photographs):
    """The scores of photographs and drawings, with the same dice."""
    torch.manual_seed(1)
    drawings = model.generator(torch.randn(len(photographs), model.latent))
    return model.discriminator(photographs), model.discriminator(drawings)


def test_the_losses_are_binary_cross_entropies(model, photographs):
    real, fake = by_hand(model, photographs)
    torch.manual_seed(1)
    losses = model(photographs, penalty=0.0)
    entropy = F.binary_cross_entropy_with_logits
    yes, no = torch.ones_like(real), torch.zeros_like(real)
    torch.testing.assert_close(losses["discriminator"], entropy(real, yes) + entropy(fake, no))
    torch.testing.assert_close(losses["generator"], entropy(fake, yes))  # and not −entropy(fake, no)


@pytest.mark.parametrize("penalty", [0.5, 3.0])
def test_the_penalty_is_half_the_steepness_on_photographs(model, photographs, penalty):
    with_it, without = [], []
    for weight, losses in ((penalty, with_it), (0.0, without)):
        torch.manual_seed(1)
        losses.append(model(photographs, penalty=weight))
    squares = []
    for photograph in photographs:
        image = photograph[None].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model.discriminator(image).sum(), image)
        squares.append(gradient.square().sum())
    expected = penalty / 2 * torch.stack(squares).mean()
    torch.testing.assert_close(with_it[0]["discriminator"] - without[0]["discriminator"], expected)
    assert torch.equal(with_it[0]["generator"], without[0]["generator"])


def test_the_penalty_can_be_minimised(model, photographs):
    image = photographs.clone().requires_grad_()
    flat = gradient_penalty(model.discriminator(image), image)
    slopes = torch.autograd.grad(flat, model.discriminator[0].weight)
    assert slopes[0].any()
    assert gradient_penalty(3 * image.flatten(1).sum(1, keepdim=True), image).item() == pytest.approx(9 * 64)


def test_the_discriminator_learns_to_tell_and_the_generator_to_fool(model, photographs):
    """A step along each loss's gradient raises the scores that it should."""

    def scores():
        real, fake = by_hand(model, photographs)
        return real.mean().item(), fake.mean().item()

    def step(player, weights, rate=1e-2):
        torch.manual_seed(1)
        for weight, slope in zip(weights, gradients(model(photographs)[player], weights), strict=True):
            weight.data -= rate * (torch.zeros_like(weight) if slope is None else slope)

    before = scores()
    step("generator", players(model)[1])
    fooled = scores()
    step("discriminator", players(model)[0])
    after = scores()
    assert fooled[1] > before[1]
    assert after[0] - after[1] > fooled[0] - fooled[1]


def test_losses_can_be_measured_without_gradients(model, photographs):
    with torch.no_grad():
        losses = model(photographs)
    assert losses.keys() == {"discriminator", "generator"}
    assert not any(loss.requires_grad or loss.ndim for loss in losses.values())


def test_the_photographs_are_left_as_they_were(model, photographs):
    before = photographs.clone()
    sum(model(photographs).values()).backward()
    assert torch.equal(photographs, before)
    assert not photographs.requires_grad
    assert photographs.grad is None


def test_samples_are_those_of_their_generator(model):
    model.eval()
    one, same, other = (model.sample(3, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert one.shape == (3, 1, 8, 8)
    assert not one.requires_grad
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    code = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(one, model.generator(code))
