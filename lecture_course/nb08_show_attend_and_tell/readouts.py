"""What a grid z and a vector c of notebook 08 hold: channels that fire at a class, and what is read off linearly."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lecture_utils.cityscapes import CLASSES
from lecture_utils.tasks.caption_dataset import CaptionDataset
from lecture_utils.toycity.sample import CAR_COLOURS, COAT_COLOURS


def auc(values: Float[Tensor, "channels n"], positive: Tensor) -> Float[Tensor, "channels"]:
    """How well each channel tells the positive points, (n,) bool, from the others: the area under the ROC curve.

    The probability that a positive point has a larger value than another one; of equal values half the time.
    """
    if not positive.any() or positive.all():
        raise ValueError(f"positive: got {int(positive.sum())} of {len(positive)} points, expected some and not all")
    order = values.contiguous().sort(1).values
    inside = values[:, positive].contiguous()
    low, high = (torch.searchsorted(order, inside, right=right) for right in (False, True))
    ranks = (low + high).double().sum(1) / 2 + inside.shape[1] / 2
    n, m = inside.shape[1], values.shape[1] - inside.shape[1]
    return ((ranks - n * (n + 1) / 2) / (n * m)).float()


def best_channels(
    z: Float[Tensor, "b channels h w"], labels: Int[Tensor, "b H W"], classes: Mapping[str, int]
) -> dict[str, tuple[int, float]]:
    """For each class the channel that tells its points best from all others: its number, and the area under the ROC."""
    values, of_points, found = z.transpose(0, 1).flatten(1), _classes_of_points(z, labels), {}
    for name, train_id in classes.items():
        areas = auc(values, of_points == train_id)
        found[name] = int(areas.argmax()), float(areas.max())
    return found


def linear_readout(
    z: Float[Tensor, "b channels h w"], labels: Int[Tensor, "b H W"], train_id: int, of: Float[Tensor, "channels h w"]
) -> tuple[Float[Tensor, "h w"], float]:
    """A class read from all channels together: its scores in the grid `of`, and the area under the ROC where unseen.

    Least squares, with a little weight decay, on the first half of the images; the area is that of the second half.
    """
    points, means, spreads = _standardised(z.transpose(0, 1).flatten(1).T)
    weights, area = _least_squares(points, _classes_of_points(z, labels) == train_id, len(points) // 2)
    return ((of.flatten(1).T - means) / spreads @ weights).view(of.shape[1:]), area


def class_maps(
    z: Float[Tensor, "b channels h w"], labels: Int[Tensor, "b H W"], names: Sequence[str], of: Tensor
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Of the grid `of` (channels, h, w) the best channel for each class, and all channels for the first; the areas.

    The maps' names say which and how well (`auc`); the areas are by class, that of all channels under "all".
    """
    best = best_channels(z, labels, {name: CLASSES.index(name) for name in names})
    maps = {f"{name}: channel {k} ({area:.2f})": of[k] for name, (k, area) in best.items()}
    scores, area = linear_readout(z, labels, CLASSES.index(names[0]), of)
    maps[f"{names[0]}: all {len(of)} channels ({area:.2f})"] = scores.clamp(min=0)
    return maps, {name: found for name, (_, found) in best.items()} | {"all": area}


def colour_readout(z: Float[Tensor, "b channels h w"], data: CaptionDataset) -> dict[str, float]:
    """How well points on cars of one colour are told from those on other cars, by all channels together (`auc`).

    The cars of the first images of a data set, whose grids are `z`; as in `linear_readout`, half of the images each.
    """
    points, colours, half = [], [], 0
    for image, grid in enumerate(z):
        half = len(colours) if image == len(z) // 2 else half
        of_points = _objects_of_points(data, image, grid.shape[1])
        for number, car in enumerate(data.truth(image)[1].objects, start=1):
            if car.category == "car":
                points.append(grid[:, of_points == number].T)
                colours += [car.colour] * len(points[-1])
    every = _standardised(torch.cat(points))[0]
    is_of = {colour: torch.tensor([one == colour for one in colours]) for colour in sorted(set(colours))}
    return {colour: _least_squares(every, positive, half)[1] for colour, positive in is_of.items()}


PARTS = {"last map, 0 to 63": slice(0, 64), "first map, 64 to 255": slice(64, 256), "both": slice(0, 256)}


def parts_table(
    z: Float[Tensor, "b channels h w"], labels: Int[Tensor, "k H W"], data: CaptionDataset
) -> tuple[str, dict[str, tuple[float, float]]]:
    """How well parts of the channels tell points on cars (of the first k images), and cars of one colour: a table.

    The areas (`linear_readout`, `colour_readout`), and of the colours their mean.
    """
    found = {}
    for name, part in PARTS.items():
        _, car = linear_readout(z[: len(labels), part], labels, CLASSES.index("car"), z[0, part])
        colours = colour_readout(z[:, part], data)
        found[name] = car, sum(colours.values()) / len(colours)
    lines = [f"{'all channels of the …':24}{'a car':>8}{'its colour':>14}"]
    lines += [f"{name:24}{car:8.2f}{colour:14.2f}" for name, (car, colour) in found.items()]
    return "\n".join(lines), found


def _objects_of_points(data: CaptionDataset, image: int, rows: int) -> Int[Tensor, "h w"]:
    """The object, counted from 1, that fills most of the cell of each point of a grid, 0 for none."""
    instances = torch.from_numpy(data.truth(image)[1].instances).long()
    side = instances.shape[0] // rows
    return instances.unfold(0, side, side).unfold(1, side, side).flatten(2).mode(-1).values


def _standardised(points: Float[Tensor, "n channels"]) -> tuple[Tensor, Tensor, Tensor]:
    means, spreads = points.mean(0), points.std(0) + 1e-6
    return (points - means) / spreads, means, spreads


def _least_squares(points: Float[Tensor, "n channels"], positive: Tensor, half: int) -> tuple[Tensor, float]:
    """Weights for the channels, fitted with a little decay to the first `half` points, and the `auc` of the others."""
    seen, wanted = points[:half], positive[:half].float()
    decay = 0.01 * half * torch.eye(points.shape[1])
    weights = torch.linalg.solve(seen.T @ seen + decay, seen.T @ (wanted - wanted.mean()))
    return weights, auc((points[half:] @ weights)[None], positive[half:]).item()


PROBED = {  # what is asked of a street: a name -> of its objects, each (category, colour), the answers to be averaged
    "a car": [lambda some: any(kind == "car" for kind, _ in some)],
    "a person": [lambda some: any(kind == "person" for kind, _ in some)],
    "a traffic sign": [lambda some: any(kind == "traffic sign" for kind, _ in some)],
    "a traffic light": [lambda some: any(kind == "traffic light" for kind, _ in some)],
    "two cars or more": [lambda some: sum(kind == "car" for kind, _ in some) > 1],
    "four objects or more": [lambda some: len(some) > 3],
    "a red car, a blue car, …": [lambda some, c=c: ("car", c) in some for c in CAR_COLOURS],
    "a red coat, a blue coat, …": [lambda some, c=c: ("person", c) in some for c in COAT_COLOURS],
}


def probe(
    fitted: tuple[Float[Tensor, "n d"], CaptionDataset], scored: tuple[Float[Tensor, "m d"], CaptionDataset]
) -> dict[str, float]:
    """What a linear layer reads from a vector of each street: the area under the ROC (`auc`) for each of `PROBED`.

    Least squares on the first pair, scored on the second; the weight decay counts as much as the data (with less of it
    the areas were smaller).
    """
    x, means, spreads = _standardised(fitted[0])
    inverse, unseen = torch.linalg.inv(x.T @ x + len(x) * torch.eye(x.shape[1])), (scored[0] - means) / spreads
    seen, wanted = (
        [[(obj.category, obj.colour) for obj in data.truth(i)[1].objects] for i in range(len(vectors))]
        for vectors, data in (fitted, scored)
    )
    found = {}
    for name, questions in PROBED.items():
        areas = []
        for asked in questions:
            y, there = (torch.tensor([asked(some) for some in every]) for every in (seen, wanted))
            weights = inverse @ (x.T @ (y.float() - y.float().mean()))
            areas.append(auc((unseen @ weights)[None], there).item())
        found[name] = sum(areas) / len(areas)
    return found


def by_points(
    fitted: tuple[Float[Tensor, "n channels h w"], CaptionDataset],
    scored: tuple[Float[Tensor, "m channels h w"], CaptionDataset],
) -> float:
    """Is there a red car, a blue car, …, asked of every point of a grid: the mean area under the ROC (`auc`).

    Least squares tell points on cars of one colour from all other points; of each street its highest point counts.
    """
    (z, data), (unseen, other) = fitted, scored
    x, means, spreads = _standardised(z.permute(0, 2, 3, 1).flatten(0, 2))
    points = (unseen.permute(0, 2, 3, 1).flatten(1, 2) - means) / spreads
    inverse = torch.linalg.inv(x.T @ x + 0.01 * len(x) * torch.eye(x.shape[1]))
    of_points = [_objects_of_points(data, image, z.shape[2]).flatten() for image in range(len(z))]
    areas = []
    for colour in CAR_COLOURS:
        is_one = [[False, *_cars(data, image, colour)] for image in range(len(z))]
        y = torch.cat([torch.tensor(some)[numbers] for some, numbers in zip(is_one, of_points, strict=True)]).float()
        highest = (points @ (inverse @ (x.T @ (y - y.mean())))).amax(1)
        there = torch.tensor([any(_cars(other, image, colour)) for image in range(len(unseen))])
        areas.append(auc(highest[None], there).item())
    return sum(areas) / len(areas)


def _cars(data: CaptionDataset, image: int, colour: str) -> list[bool]:
    """Of each object of an image whether it is a car of a colour."""
    return [(obj.category, obj.colour) == ("car", colour) for obj in data.truth(image)[1].objects]


def probe_table(fitted: tuple, scored: tuple, model: nn.Module) -> tuple[str, dict[str, float]]:
    """`probe` of a model's vector c and of the maxima of the channels; the grids z and their data set, twice.

    A table, and the areas of c.
    """
    with torch.no_grad():
        vectors = [model.start(z.to(next(model.parameters()).device))[0].cpu() for z, _ in (fitted, scored)]
    sets = fitted[1], scored[1]
    read = probe(*zip(vectors, sets, strict=True))
    maxima = probe(*zip([z.amax((2, 3)) for z, _ in (fitted, scored)], sets, strict=True))
    lines = [f"{'is there …':30}{'from c':>8}{'from the maxima of z':>24}{'from the points of z':>24}"]
    lines += [f"{name:30}{area:8.2f}{maxima[name]:24.2f}" for name, area in read.items()]
    lines[-2] += f"{by_points(fitted, scored):24.2f}"  # a car of a colour
    return "\n".join(lines), read


def _classes_of_points(z: Tensor, labels: Tensor) -> Tensor:
    """The class, for each point of the grids in a row, that fills most of its cell of the label maps."""
    _, _, h, w = z.shape
    high, wide = labels.shape[1] // h, labels.shape[2] // w
    return labels.unfold(1, high, high).unfold(2, wide, wide).flatten(3).mode(-1).values.flatten()
