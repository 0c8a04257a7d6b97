"""GAN and diffusion on points of the plane, small enough to train while one watches (slide 37).

The points are colours: eight paints around the colour circle, each a little different every time. Networks hold several
trainings side by side, one for each seed, and tensors begin with that axis: five seeds cost little more than one.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lecture_utils.arguments import require_one_of
from lecture_utils.generative import cosine_alpha_bar
from lecture_utils.generative.diffusion import timestep_embedding, timesteps

PAINTS = 8
RADIUS = 2**0.5  # of the colour circle, so that points have a variance of 1 along each axis
DEVIATION = 0.1  # of a paint around its middle, along each axis
STEPS = 100  # of the diffusion
EXTENT = 2.7  # of the plane that is drawn, to each side
CELLS = 48  # of a field, along each side


def middles(device: str = "cpu") -> Float[Tensor, "paints 2"]:
    """The middle of each paint, on a circle of `RADIUS`: red on the right, then counter-clockwise."""
    angles = torch.arange(PAINTS, device=device) * 2 * math.pi / PAINTS
    return RADIUS * torch.stack([angles.cos(), angles.sin()], dim=1)


def paints(*shape: int, seed: int | None = None) -> Float[Tensor, "*shape 2"]:
    """Samples of the true distribution: one of the paints at random, and a little beside its middle."""
    dice = None if seed is None else torch.Generator().manual_seed(seed)
    which, beside = torch.randint(PAINTS, shape, generator=dice), torch.randn(*shape, 2, generator=dice)
    return middles()[which] + DEVIATION * beside


def plane(device: str = "cpu", cells: int = CELLS) -> Float[Tensor, "cells·cells 2"]:
    """The points of a grid over the plane, row after row from below."""
    line = torch.linspace(-EXTENT, EXTENT, cells, device=device)
    return torch.cartesian_prod(line, line).flip(1)


def covered(points: Float[Tensor, "seeds n 2"]) -> Int64[Tensor, " seeds"]:
    """How many paints have at least a fifth of their share of the points, within three deviations of the middle."""
    near = torch.cdist(points, middles(points.device).expand(len(points), -1, -1)) < 3 * DEVIATION
    return (near.float().mean(1) > 0.2 / PAINTS).sum(1)


def on_paints(points: Float[Tensor, "seeds n 2"]) -> Float[Tensor, " seeds"]:
    """Which share of the points lies within three deviations of a paint's middle; 0.99 of the true ones do."""
    far = torch.cdist(points, middles(points.device).expand(len(points), -1, -1)).amin(2)
    return (far < 3 * DEVIATION).float().mean(1)


def ring(count: int) -> Float[Tensor, "1 count 2"]:
    """Points spread evenly over the colour circle, as if no paint were there; `covered` takes them for paints."""
    angles = torch.arange(count) * 2 * math.pi / count
    return RADIUS * torch.stack([angles.cos(), angles.sin()], dim=1)[None]


def report(samples: Mapping[str, Float[Tensor, "seeds n 2"]], *, count: int = 1000) -> str:
    """A table: of each name how many paints each seed `covered`, and the share of its points `on_paints`.

    Two lines more are for comparison: an even ring, and true points.
    """
    rows = {**samples, "an even ring": ring(count), "true points": paints(1, count, seed=0)}
    lines = [f"{'':22}{'paints found, of 8':22}share of the points within 3 σ of one"]
    for name, points in rows.items():
        found, near = covered(points).tolist(), on_paints(points).tolist()
        lines.append(f"{name:22}{'  '.join(map(str, found)):22}{'  '.join(f'{share:.2f}' for share in near)}")
    return "\n".join(lines)


class Networks(nn.Module):
    """A small network for each seed: three linear layers, (seeds, n, inputs) → (seeds, n, outputs)."""

    def __init__(self, inputs: int, outputs: int, *, seeds: int, width: int = 64):
        super().__init__()
        sizes = [(inputs, width), (width, width), (width, outputs)]
        self.weights = nn.ParameterList(torch.randn(seeds, *size) * math.sqrt(2 / size[0]) for size in sizes)
        self.biases = nn.ParameterList(torch.zeros(seeds, 1, size[1]) for size in sizes)

    def forward(self, x: Float[Tensor, "seeds n inputs"]) -> Float[Tensor, "seeds n outputs"]:
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, F.leaky_relu(x, 0.2) if layer else x, weight)
        return x


class Players(nn.Module):
    """Generator and discriminator; with `statistics` the latter is also told the deviation of its batch."""

    def __init__(self, *, seeds: int, statistics: bool = False):
        super().__init__()
        self.seeds, self.statistics = seeds, statistics
        self.generator = Networks(2, 2, seeds=seeds)
        self.discriminator = Networks(4 if statistics else 2, 1, seeds=seeds)

    def generate(self, count: int) -> Float[Tensor, "seeds count 2"]:
        """Samples, from codes of the normal distribution."""
        return self.generator(torch.randn(self.seeds, count, 2, device=self.generator.weights[0].device))

    def score(
        self, x: Float[Tensor, "seeds n 2"], batch: Float[Tensor, "seeds m 2"] | None = None
    ) -> Float[Tensor, "seeds n 1"]:
        """Positive for "real": the logit of D(x). `batch`, by default x itself, is what the deviation is taken from."""
        if not self.statistics:
            return self.discriminator(x)
        deviation = (x if batch is None else batch).std(1, keepdim=True)
        return self.discriminator(torch.cat([x, deviation.expand_as(x)], dim=2))


@dataclass(frozen=True)
class Snapshot:
    """A GAN in the course of its training: samples of all seeds, and the first seed's D(x) over the `plane`."""

    step: int
    samples: Float[Tensor, "seeds n 2"]
    field: Float[Tensor, "cells cells"]


def train_gan(
    losses: Callable[[Players, Tensor], tuple[Tensor, Tensor]],
    *,
    rates: tuple[float, float] = (1e-3, 1e-3),
    penalty: float = 0.0,
    statistics: bool = False,
    steps: int = 800,
    seeds: int = 5,
    batch: int = 64,
    every: int | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> list[Snapshot]:
    """Train a GAN for each seed; snapshots at the start, each `every` steps and at the end.

    `losses(players, real)` gives the discriminator's and the generator's loss, summed over the seeds. `rates` are the
    learning rates of generator and discriminator, `penalty` the weight of R1.
    """
    torch.manual_seed(seed)
    players = Players(seeds=seeds, statistics=statistics).to(device)
    both = [list(players.discriminator.parameters()), list(players.generator.parameters())]
    optimizers = [torch.optim.Adam(part, rate, betas=(0.5, 0.99)) for part, rate in zip(both, rates[::-1], strict=True)]
    shots = [snapshot(players, 0)]
    for step in range(1, steps + 1):
        real = paints(seeds, batch).to(device).requires_grad_(penalty > 0)
        values = list(losses(players, real))
        if penalty:
            (slope,) = torch.autograd.grad(players.score(real).sum(), real, create_graph=True)
            values[0] = values[0] + penalty / 2 * slope.square().sum(2).mean(1).sum()
        for part, value in zip(both, values, strict=True):  # both before either moves; each has its own loss
            for weight, gradient in zip(part, torch.autograd.grad(value, part, retain_graph=True), strict=True):
                weight.grad = gradient
        for optimizer in optimizers:
            optimizer.step()
        if step == steps or (every and step % every == 0):
            shots.append(snapshot(players, step))
    return shots


@torch.no_grad()
def snapshot(players: Players, step: int, *, count: int = 1000) -> Snapshot:
    """What the players do now; the global random generator stays where it was."""
    with torch.random.fork_rng(devices=[]):
        samples = players.generate(count)
    grid = plane(samples.device).expand(players.seeds, -1, -1)
    return Snapshot(step, samples.cpu(), players.score(grid, samples)[0].sigmoid().view(CELLS, CELLS).cpu())


class Denoiser(nn.Module):
    """A noisy point and its step → the `target`, "velocity" or "noise", by a network for each seed."""

    def __init__(self, target: str = "velocity", *, seeds: int = 1, width: int = 64):
        super().__init__()
        require_one_of("target", target, ("velocity", "noise"))
        self.target, self.seeds = target, seeds
        self.networks = Networks(2 + 8, 2, seeds=seeds, width=width)
        self.register_buffer("alpha_bar", cosine_alpha_bar(STEPS))

    def forward(self, noisy: Float[Tensor, "seeds n 2"], step: Int64[Tensor, "seeds n"]) -> Float[Tensor, "seeds n 2"]:
        time = timestep_embedding(step.flatten() / STEPS).view(*step.shape, -1)
        return self.networks(torch.cat([noisy, time], dim=2))

    def scales(self, step: Int64[Tensor, "*n"]) -> tuple[Float[Tensor, "*n 1"], Float[Tensor, "*n 1"]]:
        """√ᾱ and √(1 − ᾱ): how much of the point and of the noise there is after a step."""
        alpha_bar = self.alpha_bar[step][..., None]
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()

    def parts(
        self, noisy: Float[Tensor, "seeds n 2"], step: Int64[Tensor, "seeds n"]
    ) -> tuple[Float[Tensor, "seeds n 2"], Float[Tensor, "seeds n 2"]]:
        """The clean points x₀ and the noise that follow from what the network predicts."""
        said, (signal, sigma) = self(noisy, step), self.scales(step)
        if self.target == "velocity":
            return signal * noisy - sigma * said, sigma * noisy + signal * said
        return (noisy - sigma * said) / signal, said

    @torch.no_grad()
    def path(self, start: Float[Tensor, "seeds n 2"], stops: int = STEPS) -> list[tuple[int, Tensor]]:
        """DDIM with η = 0 from noise: (step, points) at each of the stops, and the samples at the end as step −1."""
        points, found = start, []
        steps = timesteps(STEPS, stops)
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            found.append((step, points))
            clean, noise = self.parts(points, self.at(step, points))
            if following is not None:
                signal, sigma = self.scales(self.at(following, points))
                points = signal * clean + sigma * noise
        return [*found, (-1, clean)]

    def at(self, step: int, points: Float[Tensor, "seeds n 2"]) -> Int64[Tensor, "seeds n"]:
        """The same step for all points."""
        return torch.full(points.shape[:2], step, device=points.device)


def train_diffusion(
    loss: Callable[[Denoiser, Tensor], Tensor],
    target: str = "velocity",
    *,
    steps: int = 3000,
    seeds: int = 3,
    batch: int = 256,
    seed: int = 0,
    device: str = "cpu",
) -> Denoiser:
    """Train a denoiser for each seed; `loss(net, points)` is one number, and the learning rate falls to 0."""
    torch.manual_seed(seed)
    net = Denoiser(target, seeds=seeds).to(device)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(net, paints(seeds, batch).to(device)).backward()
        optimizer.step()
        schedule.step()
    return net


@torch.no_grad()
def sample(net: Denoiser, count: int, *, seed: int = 1) -> Float[Tensor, "seeds count 2"]:
    """New points of each seed's network, from the same noise whatever the target is."""
    noise = torch.randn(net.seeds, count, 2, generator=torch.Generator().manual_seed(seed))
    return net.path(noise.to(net.alpha_bar.device))[-1][1].cpu()


@torch.no_grad()
def clean_errors(net: Denoiser, *, count: int = 2000, seed: int = 1) -> Float[Tensor, "seeds steps"]:
    """How far the predicted clean points lie from the true ones at each step: the root of the mean squared distance."""
    device = net.alpha_bar.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        clean, noise = paints(net.seeds, count).to(device), torch.randn(net.seeds, count, 2).to(device)
    errors = []
    for step in range(STEPS):
        signal, sigma = net.scales(net.at(step, clean))
        found, _ = net.parts(signal * clean + sigma * noise, net.at(step, clean))
        errors.append((found - clean).square().sum(2).mean(1).sqrt())
    return torch.stack(errors, dim=1).cpu()
