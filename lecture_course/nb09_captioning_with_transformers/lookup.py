"""A question of its own at each point, which needs a query: what shows the lamp of my colour? (slide 28)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lecture_course.nb09_captioning_with_transformers.presence import BLOCKS, CHANNELS

LAMPS, SIDE = 8, 8  # lamps, each of a colour of its own; points of the grid in each direction
UNSEEN = 10_000  # the seed of the grids that are asked about
Batch = tuple[Float[Tensor, "n 10 8 8"], Bool[Tensor, "n 8 8"], Bool[Tensor, "n 8 8"]]


def draw(n: int, generator: torch.Generator) -> Batch:
    """Grids (n, 10, 8, 8), the right answers, and which points ask.

    Each of the 64 points has one of eight colours (channels 0 to 7, one-hot). Eight of them, at random places, are
    lamps (channel 8), one of each colour, and show +1 or -1 (channel 9). All others ask what the lamp of their colour
    shows.
    """
    points = SIDE * SIDE
    shows = torch.randint(0, 2, (n, LAMPS), generator=generator)
    colour = torch.randint(0, LAMPS, (n, points), generator=generator)
    colour[:, :LAMPS] = torch.arange(LAMPS)  # the first eight are the lamps, until all are shuffled
    lamp = (torch.arange(points) < LAMPS).expand(n, points)
    answers = shows.gather(1, colour)
    features = [F.one_hot(colour, LAMPS), lamp[..., None], torch.where(lamp, 2 * answers - 1, 0)[..., None]]
    order = torch.rand(n, points, generator=generator).argsort(1)
    x = torch.cat(features, 2).float()[torch.arange(n)[:, None], order]
    asks = ~lamp.gather(1, order)
    return (
        x.mT.unflatten(2, (SIDE, SIDE)),
        answers.gather(1, order).bool().view(n, SIDE, SIDE),
        asks.view(n, SIDE, SIDE),
    )


class Asker(nn.Module):
    """Grids (b, 10, 8, 8) → a logit at each point (b, 8, 8), by one of `BLOCKS` and a small MLP behind it."""

    def __init__(self, block: str):
        super().__init__()
        self.project, self.block = nn.Conv2d(LAMPS + 2, CHANNELS, 1), BLOCKS[block]()
        self.predict = nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 1), nn.ReLU(), nn.Conv2d(CHANNELS, 1, 1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
        mixed = self.block(self.project(x).relu())
        return self.predict(mixed[0] if isinstance(mixed, tuple) else mixed)[:, 0]


def train(
    block: str, *, seed: int, at: Sequence[int] = (300,), lr: float = 3e-3, device: torch.device | str = "cpu"
) -> tuple[Asker, dict[int, float]]:
    """An `Asker` with one of `BLOCKS`, trained on 16 new grids in each step; step → accuracy after it, of those `at`.

    The last of them ends the training.
    """
    torch.manual_seed(seed)
    generator, model, found = torch.Generator().manual_seed(seed), Asker(block).to(device), {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.1)
    for step in range(1, max(at) + 1):
        x, answers, asks = (part.to(device) for part in draw(16, generator))
        loss = F.binary_cross_entropy_with_logits(model(x)[asks], answers[asks].float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in at:
            found[step] = accuracy(model)
    return model.eval(), found


def by_rate(block: str, device: torch.device | str = "cpu") -> dict[float, float]:
    """The accuracy after 300 steps with a smaller learning rate and with a larger one."""
    return {lr: train(block, seed=0, lr=lr, device=device)[1][300] for lr in (1e-3, 1e-2)}


@torch.no_grad()
def accuracy(model: Asker, grids: int = 200) -> float:
    """The fraction of right answers of the points that ask, on grids that no training has drawn."""
    device = next(model.parameters()).device
    x, answers, asks = (part.to(device) for part in draw(grids, torch.Generator().manual_seed(UNSEEN)))
    return ((model(x) > 0) == answers)[asks].float().mean().item()


def commonest_sign(grids: int = 200) -> float:
    """The fraction of right answers of one who always names the sign that most lamps of the grid show (or +)."""
    x, answers, asks = draw(grids, torch.Generator().manual_seed(UNSEEN))
    most = x[:, LAMPS + 1].sum((1, 2)) >= 0
    return (most[:, None, None] == answers)[asks].float().mean().item()


@torch.no_grad()
def on_own_lamp(model: Asker, grids: int = 40) -> float:
    """Of a model with self-attention: the fraction of askers whose largest weight lies on the lamp of their colour."""
    x, _, asks = draw(grids, torch.Generator().manual_seed(UNSEEN))
    highest = attention_weights(model, grids).argmax(-1).cpu()
    colour, lamp = x[:, :LAMPS].argmax(1).flatten(1), x[:, LAMPS].flatten(1) > 0
    own = lamp.gather(1, highest) & (colour.gather(1, highest) == colour)
    return own[asks.flatten(1)].float().mean().item()


@torch.no_grad()
def attention_weights(model: Asker, grids: int = 40) -> Float[Tensor, "n 64 64"]:
    """Of a model with self-attention: which point (row) attends to which (column) on grids not seen in training."""
    x = draw(grids, torch.Generator().manual_seed(UNSEEN))[0].to(next(model.parameters()).device)
    return model.block(model.project(x).relu())[1]


def askers(x: Float[Tensor, "10 8 8"], number: int = 3) -> list[tuple[int, int]]:
    """Row and column of points of a grid that ask, each of another colour; every 27th is tried, so they lie apart."""
    first = {}
    for row, column in (divmod(27 * k % SIDE**2, SIDE) for k in range(1, SIDE**2)):
        if x[LAMPS, row, column] == 0:
            first.setdefault(x[:LAMPS, row, column].argmax().item(), (row, column))
    return list(first.values())[:number]


@torch.no_grad()
def value_norms(model: Asker, grids: int = 40) -> tuple[float, float]:
    """How long the values are that a model with self-attention makes: those of lamps, and of all other points."""
    x = draw(grids, torch.Generator().manual_seed(UNSEEN))[0].to(next(model.parameters()).device)
    norms, lamp = model.block.value(model.project(x).relu()).norm(dim=1), x[:, LAMPS] > 0
    return norms[lamp].mean().item(), norms[~lamp].mean().item()


def summary(models: Sequence[Asker]) -> str:
    """`on_own_lamp` of several trainings, and the mean of their `value_norms`, as words."""
    own, norms = (
        [on_own_lamp(model) for model in models],
        torch.tensor([value_norms(model) for model in models]).mean(0),
    )
    return (
        f"{len(models)} trainings: {min(own):.0%} to {max(own):.0%} of the points that ask put their largest weight on "
        f"the lamp of their colour;\nlength of the values: lamps {norms[0]:.1f}, other points {norms[1]:.1f}"
    )
