"""A question that no point of a map can answer alone: which classes are anywhere in the street? (slide 28)."""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from lecture_utils.tasks.caption_dataset import CaptionDataset
from lecture_utils.transformers.self_attention import GridSelfAttention

CLASSES = ("car", "person", "traffic sign", "traffic light")
CHANNELS, BATCH = 64, 8
RATES = (1e-3, 3e-3, 1e-2)
POOLS = {"mean": torch.mean, "maximum": torch.amax}


class Local(nn.Module):
    """A 3 × 3 convolution whose output is added to its input."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.conv(x)


class GlobalPooling(nn.Module):
    """To every point is added what a 1 × 1 convolution makes of each channel's maximum, or mean, over the whole map.

    The convolution stands where `GridSelfAttention` has W: without it the map and what is pooled are weighed alike.
    """

    def __init__(self, pool: Callable[..., Tensor]):
        super().__init__()
        self.pool, self.out = pool, nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.out(self.pool(x, (2, 3), keepdim=True))


def divided_attention() -> GridSelfAttention:
    """The same with scores divided by √d, as in `attention`; the block's queries are."""
    block = GridSelfAttention(CHANNELS)
    block.query = nn.Sequential(block.query, Scale(block.query.out_channels**-0.5))
    return block


class Scale(nn.Module):
    """Its input times a fixed number."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


class PointClassifier(nn.Module):
    """Features (b, 256, h, w) → at each point the logits of the four classes, (b, 4, h, w); between them a `block`.

    `block` takes and gives 64 channels; what it gives beside them (`GridSelfAttention` its weights) is left out.
    """

    def __init__(self, block: nn.Module, features: int = 256):
        super().__init__()
        self.standardize = nn.BatchNorm2d(features, affine=False, momentum=None)
        self.project, self.block = nn.Conv2d(features, CHANNELS, 1), block
        self.predict = nn.Conv2d(CHANNELS, len(CLASSES), 1)

    def reduce(self, z: Float[Tensor, "b features h w"]) -> Float[Tensor, "b c h w"]:
        """What goes into the block."""
        return self.project(self.standardize(z)).relu()

    def forward(self, z: Float[Tensor, "b features h w"]) -> Float[Tensor, "b classes h w"]:
        return self.classify(self.reduce(z))

    def classify(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes h w"]:
        mixed = self.block(x)
        return self.predict(mixed[0] if isinstance(mixed, tuple) else mixed)


BLOCKS = {
    "each point alone": nn.Identity,
    "one more 3 × 3 convolution": lambda: Local(CHANNELS),
    "global mean pooling": lambda: GlobalPooling(POOLS["mean"]),
    "global max pooling": lambda: GlobalPooling(POOLS["maximum"]),
    "self-attention": lambda: GridSelfAttention(CHANNELS),
    "self-attention, divided by √d": divided_attention,
}


def present(data: CaptionDataset, scenes: Sequence[int]) -> Float[Tensor, "b classes"]:
    """1 for each class of which a street shows an object, else 0."""
    seen = [{obj.category for obj in data.truth(index)[1].objects} for index in scenes]
    return torch.tensor([[float(name in categories) for name in CLASSES] for categories in seen])


def train(
    block: str,
    z: Float[Tensor, "n features h w"],
    there: Float[Tensor, "n classes"],
    *,
    seed: int,
    steps: int = 150,
    lr: float = 3e-3,
) -> tuple[PointClassifier, list[float]]:
    """A `PointClassifier` with one of `BLOCKS`, trained in batches of `BATCH` streets, and its γ after each step."""
    torch.manual_seed(seed)
    order, model = torch.Generator().manual_seed(seed), PointClassifier(BLOCKS[block](), z.shape[1]).to(z.device)
    optimizer, gammas = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.1), []
    model.standardize(z)  # once, with the statistics of all streets, and no more in the loop
    z = model.eval().standardize(z)
    for _ in range(steps):
        chosen = torch.randint(len(z), (BATCH,), generator=order)
        logits = model.classify(model.project(z[chosen]).relu())
        wanted = there[chosen].to(logits)[..., None, None].expand_as(logits)
        loss = F.binary_cross_entropy_with_logits(logits, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        gammas.append(getattr(model.block, "gamma", torch.zeros(1)).item())
    return model, gammas


@torch.no_grad()
def accuracy(model: PointClassifier, z: Float[Tensor, "n features h w"], there: Float[Tensor, "n classes"]) -> float:
    """The fraction of right answers, of all points and classes."""
    wanted = there.to(z.device)[..., None, None] > 0
    return ((model(z) > 0) == wanted).float().mean().item()


def by_rate(block: str, fit: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> dict[float, float]:
    """The accuracy on other streets of a training with each of the `RATES`; pairs of z and what is there."""
    return {lr: accuracy(train(block, *fit, seed=0, lr=lr)[0], *other) for lr in RATES}


def probe(pool: Callable[..., Tensor], train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> float:
    """The accuracy of a logistic regression for each class, on the pooled features of a street, standardised.

    `train` and `test` are features (n, c, h, w) and what is there (n, classes); `pool` as for `GlobalPooling`.
    """
    from sklearn.linear_model import LogisticRegression  # half a second, which only the probe needs
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    (x, there), (x_test, wanted) = ((pool(z.cpu(), (2, 3)).numpy(), of.cpu().numpy()) for z, of in (train, test))
    rule = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    rights = [rule.fit(x, of).score(x_test, asked) for of, asked in zip(there.T, wanted.T, strict=True)]
    return sum(rights) / len(rights)


@torch.no_grad()
def habits(
    model: PointClassifier, z: Float[Tensor, "n features h w"], objects: Bool[Tensor, "n hw"]
) -> dict[str, float]:
    """How alike the points of an image attend, and how sharply, in a model with self-attention; means over images.

    `shared`: the points whose largest weight lies where the commonest does; `on objects`: how many images have an
    object there; `of the next`: how many have one of the next image's there; `deviation`: that of a point's scores;
    `largest`: its largest weight; `γ`: the block's.
    """
    x, block = model.reduce(z), model.block
    queries, keys = (layer(x).flatten(2) for layer in (block.query, block.key))
    scores, weights = queries.mT @ keys, block(x)[1]
    commonest = weights.argmax(-1).mode().values.cpu()[:, None]
    return {
        "shared": agreement(weights),
        "on objects": objects.gather(1, commonest).sum().item(),
        "of the next": objects.roll(-1, 0).gather(1, commonest).sum().item(),
        "deviation": scores.std(-1).mean().item(),
        "largest": weights.amax(-1).mean().item(),
        "γ": block.gamma.item(),
    }


def agreement(weights: Float[Tensor, "b q k"]) -> float:
    """The fraction of an image's queries whose largest weight lies on the same key, the commonest; mean over images."""
    highest = weights.argmax(-1)
    return sum((one == one.mode().values).float().mean().item() for one in highest) / len(highest)


def habit_ranges(rows: Sequence[Mapping[str, float]], images: int) -> str:
    """`habits` of several trainings over so many images: from the least to the largest of each."""
    low, high = ({key: pick(row[key] for row in rows) for key in rows[0]} for pick in (min, max))
    return (
        f"{len(rows)} trainings, {images} streets: {low['shared']:.0%} to {high['shared']:.0%} of all points put their "
        f"largest weight on the same one;\n    it is on an object in {low['on objects']:.0f} to "
        f"{high['on objects']:.0f} streets (on one of the next street in {low['of the next']:.0f} to "
        f"{high['of the next']:.0f});\n    deviation of the scores {low['deviation']:.1f} to {high['deviation']:.1f}, "
        f"largest weight {low['largest']:.2f} to {high['largest']:.2f}, γ {low['γ']:.2f} to {high['γ']:.2f}"
    )
