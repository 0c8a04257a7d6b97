"""What is measured of a trained ViT: its filters and positions, where it attends, what it classifies correctly."""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from lecture_course.nb10_vision_transformer.windows import by_area, patches_on_objects
from lecture_utils import recipes, runtime, tasks, training
from lecture_utils.datasets import LabelledObjects
from lecture_utils.runtime import Runtime
from lecture_utils.studies import alike_in_rows, alike_inside
from lecture_utils.transformers import ViT

DRAWS = 2000  # of a bootstrap
Right = Bool[Tensor, "n"]


def batch_of(data: LabelledObjects, device: str) -> Float[Tensor, "n 3 h w"]:
    """All images of a data set as a network takes them, whatever its own transforms."""
    change = tasks.photo_transforms()
    return torch.stack([change(image) for image in data.images]).to(device)


@torch.no_grad()
def classify(model: nn.Module, images: Float[Tensor, "n 3 h w"]) -> Int64[Tensor, "n"]:
    """The class of the highest score for each image."""
    return model(images).argmax(1).cpu()


def count(module: nn.Module) -> int:
    """The number of a module's parameters."""
    return sum(p.numel() for p in module.parameters())


def parameter_table(patches: Sequence[int]) -> str:
    """Of ViT-B at 224 × 224 with patches of each side: the parameters of its projection and of its positions."""
    lines = ["patch  of the projection  of the positions  together"]
    with torch.device("meta"):
        for patch in patches:
            model = ViT.paper("B/16", patch_size=patch)
            first, places = count(model.patch_embed), model.pos_embed.numel()
            lines.append(f"{patch:5}  {first:17,}  {places:16,}  {first + places:8,}")
    return "\n".join(lines)


def principal_components(model: ViT) -> Float[Tensor, "k c p p"]:
    """Of the filters of the patch embedding: the directions in which they differ most, that of most variance first.

    As the left of figure 7 of the paper.
    """
    filters = model.patch_embed.weight.detach().float().cpu()
    flat = filters.flatten(1)
    return torch.linalg.svd(flat - flat.mean(0), full_matrices=False)[2].unflatten(1, filters.shape[1:])


def untrained(seed: int) -> ViT:
    """The ViT of the recipe, as a training with this seed starts."""
    torch.manual_seed(seed)
    return recipes.recipe("vit").build()


def filter_cosine(first: ViT, second: ViT) -> float:
    """The cosine of the angle between the filters of two patch embeddings, all of each in one vector."""
    flat = (model.patch_embed.weight.detach().float().cpu().flatten() for model in (first, second))
    return F.cosine_similarity(*flat, dim=0).item()


def smoothness(filters: Float[Tensor, "k c p p"]) -> float:
    """The correlation of a filter's value at a pixel with that at the next one, to the right or below."""
    here = torch.cat([filters[..., :-1].flatten(), filters[..., :-1, :].flatten()])
    there = torch.cat([filters[..., 1:].flatten(), filters[..., 1:, :].flatten()])
    return F.cosine_similarity(here, there, dim=0).item()


def similarity_by_distance(similarity: Float[Tensor, "h w h w"]) -> dict[str, float]:
    """Mean cosines of the positions of neighbours and of patches far apart, on the border and inside alone."""
    h, w = similarity.shape[:2]
    distance, alike = distances((h, w), 1), similarity.reshape(h * w, h * w)
    border = on_border(h, w).flatten()
    return {
        f"{name}, {far}": alike[which[:, None] & which & chosen].mean().item()
        for name, which in {"inside": ~border, "border": border}.items()
        for far, chosen in {"neighbours": distance == 1, "5 or more apart": distance >= 5}.items()
    }


def on_border(h: int, w: int) -> Bool[Tensor, "h w"]:
    """Which patches lie on the border."""
    border = torch.ones(h, w, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    return border


def centred_cosines(vectors: Float[Tensor, "n d"], grid: tuple[int, int]) -> Float[Tensor, "h w h w"]:
    """Cosines of what any two places of a `grid` have, row after row, less the mean over all places."""
    vectors = vectors.detach().cpu().float()
    vectors = F.normalize(vectors - vectors.mean(0), dim=1)
    return (vectors @ vectors.T).reshape(*grid, *grid)


def mean_patches(images: Float[Tensor, "n 3 H W"], patch: int) -> Float[Tensor, "hw d"]:
    """What each place shows on average over the images: a row of numbers for each patch, row after row."""
    return F.unfold(images.cpu(), patch, stride=patch).mean(0).T


def pairs_of_places(alike: Float[Tensor, "h w h w"]) -> dict[str, float]:
    """Mean cosines of pairs of places: in a row, a column or neither, inside, and of one border with another."""
    inside, in_rows = alike_inside(alike), alike_in_rows(alike)
    top, bottom = (alike[row, 1:-1] for row in (0, -1))
    sides = [[0, -1], slice(1, -1)]
    return {
        "inside, 3 to 5 apart, one row": inside["row"],
        "inside, 3 to 5 apart, one column": inside["column"],
        "inside, 3 to 5 apart, neither": inside["neither"],
        "left border and right border, one row": in_rows["borders"],
        "top border and bottom border": top[:, -1, 1:-1].mean().item(),
        "top border and side borders": top[:, sides[1]][:, :, sides[0]].mean().item(),
        "bottom border and side borders": bottom[:, sides[1]][:, :, sides[0]].mean().item(),
    }


def in_columns(columns: Mapping[str, Mapping[str, float]], corner: str = "") -> str:
    """A table of numbers, name of a column → name of a row → number."""
    wide = max(map(len, (corner, *(name for column in columns.values() for name in column)))) + 2
    lines = [f"{corner:{wide}}" + "".join(f"{name:>12}" for name in columns)]
    rows = next(iter(columns.values()))
    lines += [f"{name:{wide}}" + "".join(f"{column[name]:12.2f}" for column in columns.values()) for name in rows]
    return "\n".join(lines)


def by_border(values: Float[Tensor, "h w"]) -> dict[str, float]:
    """The mean of the values of places on each border, corners left out, and inside."""
    parts = {"top": values[0, 1:-1], "bottom": values[-1, 1:-1], "left": values[1:-1, 0], "right": values[1:-1, -1]}
    return {name: part.mean().item() for name, part in (parts | {"inside": values[1:-1, 1:-1]}).items()}


def attention_distance(
    maps: Float[Tensor, "b layers heads n n"], grid: tuple[int, int], patch: int
) -> Float[Tensor, "layers heads"]:
    """How far a patch attends, in pixels: the mean distance to the other patches, weighted by attention.

    As figure 11 of the paper; n counts the class token first, which has no place and is left out.
    """
    weights = maps[..., 1:, 1:].cpu()
    distance = distances(grid, patch)
    return ((weights * distance).sum(-1) / weights.sum(-1)).mean((0, 3))


def effective_patches(maps: Float[Tensor, "b layers heads n n"]) -> Float[Tensor, "layers heads"]:
    """Over how many patches a head spreads its weight: the exponential of the entropy, its mean over those who ask.

    1 if all lies on one patch, n − 1 if it is uniform; n counts the class token first, which is left out.
    """
    weights = maps[..., 1:, 1:].cpu()
    weights = weights / weights.sum(-1, keepdim=True)
    return torch.special.entr(weights).sum(-1).exp().mean((0, 3))


def distances(grid: tuple[int, int], patch: int) -> Float[Tensor, "hw hw"]:
    """Between the centres of any two patches, in pixels; their mean is what uniform weights would give."""
    places = patch * torch.cartesian_prod(torch.arange(grid[0]), torch.arange(grid[1])).float()
    return torch.cdist(places, places)


def weight_on_objects(
    maps: Float[Tensor, "b layers heads n n"], on_object: Bool[Tensor, "b h w"]
) -> dict[str, Float[Tensor, "layers"]]:
    """Which fraction of the weight on patches lies on those of the object, by who attends; the mean of the heads."""
    on = on_object.flatten(1).to(maps)
    weights = maps[..., 1:].mean(2)
    weights = torch.einsum("blqk,bk->blq", weights / weights.sum(-1, keepdim=True), on)
    found = {"the class token": weights[:, :, 0].mean(0)}
    for name, who in {"patches on the object": on, "other patches": 1 - on}.items():
        found[name] = torch.einsum("blq,bq->l", weights[:, :, 1:], who) / who.sum()
    return found


def agreement(maps: Float[Tensor, "b layers heads n n"]) -> Float[Tensor, "layers"]:
    """The fraction of an image's patches that attend most to one and the same patch; the mean of the heads."""
    favourite = maps.mean(2)[..., 1:, 1:].argmax(-1)  # image, layer, patch
    return (favourite == favourite.mode(-1, keepdim=True).values).float().mean((0, 2))


def touches(maps: Float[Tensor, "n h w"], boxes: Float[Tensor, "n 4"], patch: int) -> Right:
    """Whether the patch with the highest value overlaps the box (x0, y0, x1, y1)."""
    on_object = patches_on_objects(boxes, tuple(maps.shape[1:]), patch)
    return on_object.flatten(1)[torch.arange(len(maps)), maps.flatten(1).argmax(1)]


def pointing(
    looked: Float[Tensor, "n h w"], maps: Float[Tensor, "n layers heads t t"], boxes: Float[Tensor, "n 4"], patch: int
) -> dict[str, Right]:
    """In which images the highest patch touches the object: rollout's, that of a layer's mean of the heads, of a single
    head, of another image's rollout. Layer and head are those that do best."""
    rows = maps[:, :, :, 0, 1:].unflatten(-1, tuple(looked.shape[1:]))
    rivals = {"mean of the heads, best layer": rows.mean(2), "best single head": rows.flatten(1, 2)}

    def best(of: Float[Tensor, "n k h w"]) -> Right:
        return max((touches(one, boxes, patch) for one in of.unbind(1)), key=lambda hit: hit.sum())

    found = {"rollout": touches(looked, boxes, patch)} | {name: best(of) for name, of in rivals.items()}
    return found | {"rollout of another image": touches(looked.roll(1, 0), boxes, patch)}


def pointing_rules(images: Float[Tensor, "n 3 H W"], boxes: Float[Tensor, "n 4"], patch: int) -> dict[str, Right]:
    """As `pointing`, of rules without a network: the patch of the oddest colour, of most contrast, on most objects."""
    grid = tuple(side // patch for side in images.shape[2:])
    pixels = F.unfold(images.cpu(), patch, stride=patch).unflatten(
        1, (images.shape[1], -1)
    )  # image, channel, pixel, patch
    colour, contrast = pixels.mean(2), pixels.std(2).norm(dim=1)
    odd = (colour - colour.mean(2, keepdim=True)).norm(dim=1)
    usual = patches_on_objects(boxes, grid, patch).float().mean(0).flatten().expand_as(odd)
    rules = {"patch of the oddest colour": odd, "patch of most contrast": contrast, "one place for all": usual}
    return {name: touches(values.unflatten(1, grid), boxes, patch) for name, values in rules.items()}


def bootstrap(statistic: Callable[..., float], *of_images: Tensor, draws: int = DRAWS) -> tuple[float, float]:
    """The middle 95 % of a statistic over images drawn again and again, all of an image's values together."""
    generator, n = torch.Generator().manual_seed(0), len(of_images[0])
    chosen = torch.randint(n, (draws, n), generator=generator)
    found = torch.tensor([statistic(*(values[which] for values in of_images)) for which in chosen])
    return tuple(found.quantile(torch.tensor([0.025, 0.975])).tolist())


def difference_within(right: Right, hit: Right, group: Int64[Tensor, "n"]) -> float:
    """How much more often an answer is right where the map hits, between images of the same group.

    The differences of the groups are weighted by what each can tell: Mantel and Haenszel's n₁ n₀ / (n₁ + n₀).
    """
    total, weights = 0.0, 0.0
    for k in group.unique():
        here, there = right[(group == k) & hit].float(), right[(group == k) & ~hit].float()
        if len(here) and len(there):
            weight = len(here) * len(there) / (len(here) + len(there))
            total, weights = total + weight * (here.mean() - there.mean()).item(), weights + weight
    return total / weights if weights else 0.0


def gaps_by_size(right: Right, hit: Right, boxes: Float[Tensor, "n 4"]) -> dict[str, tuple[float, float]]:
    """The 95 % interval of `difference_within`, in more and more groups by size, last of the smallest third alone."""
    small = by_area(boxes) == 0
    every = {f"all, within {k} groups of one size": (slice(None), by_area(boxes, k)) for k in (3, 10)}
    every = {"all": (slice(None), by_area(boxes, 1))} | every
    every["the smallest third, within 10 groups"] = small, by_area(boxes[small], 10)
    return {
        name: bootstrap(difference_within, right[which], hit[which], group, draws=500)
        for name, (which, group) in every.items()
    }


def leads(
    first: Right, second: Right, groups: Mapping[str, tuple[Sequence[str], Int64[Tensor, "n"]]]
) -> dict[str, tuple[float, float, float, int]]:
    """How far the first of two models is ahead in each group of the same images: (lead, low, high, images).

    The interval is a paired bootstrap's over the images of the group.
    """
    gain, found = first.float() - second.float(), {}
    for names, group in groups.values():
        for k, name in enumerate(names):
            here = gain[group == k]
            found[name] = (here.mean().item(), *bootstrap(lambda values: values.mean().item(), here), len(here))
    return found


def lead_table(
    first: Right,
    second: Right,
    rows: tuple[Sequence[str], Int64[Tensor, "n"]],
    columns: tuple[Sequence[str], Int64[Tensor, "n"]],
    *,
    least: int = 20,
) -> str:
    """How far the first of two models is ahead in each group of rows and of columns, with the number of its images.

    A group of fewer than `least` images has its number alone.
    """
    gain = first.float() - second.float()
    lines = [" " * 15 + "".join(f"{name:>20}" for name in columns[0])]
    for i, name in enumerate(rows[0]):
        cells = [gain[(rows[1] == i) & (columns[1] == k)] for k in range(len(columns[0]))]
        told = (f"{c.mean():+.2f} ({len(c)})" if len(c) >= least else f"({len(c)})" for c in cells)
        lines.append(f"{name:15}" + "".join(f"{cell:>20}" for cell in told))
    return "\n".join(lines)


def first_steps(
    names: Mapping[str, str], data: LabelledObjects, run: Runtime, *, steps: int, seeds: Sequence[int] = (0, 1, 2)
) -> tuple[dict[str, list[list[float]]], dict[str, float]]:
    """The losses of short trainings, name → one list for each seed, and the median seconds of a step.

    `names` are those of recipes. Both see the same batches: the seed chooses them.
    """
    losses: dict[str, list[list[float]]] = {name: [] for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for seed in seeds:
        for name, key in names.items():
            runtime.seed_everything(seed)
            chosen = recipes.recipe(key)
            how = {"steps": steps, "batch_size": 32, "lr": chosen.options.lr, "quiet": True}
            history = training.fit(chosen.build(), data, loss=tasks.classification_loss(data), run=run, **how)
            losses[name].append(history.losses)
            seconds[name].append(history.seconds / history.steps)
    return losses, {name: sorted(each)[len(each) // 2] for name, each in seconds.items()}


def over_fractions(rows: Sequence[Mapping], model: str, metric: str = "accuracy") -> list[list[float]]:
    """Of a study with several fractions of the data: a list for each seed, with a value for each fraction."""
    of = [row for row in rows if row["model"] == model]
    return [[row[metric] for row in of if row["seed"] == seed] for seed in sorted({row["seed"] for row in of})]


def at_points(
    rows: Sequence[Mapping], model: str, points: Sequence[tuple[int, int]], metric: str = "accuracy"
) -> list[list[float]]:
    """Of a study of models named `model_streets_steps`: for each seed a value for each (streets, steps)."""
    of = {(row["model"], row["seed"]): row[metric] for row in rows}
    seeds = sorted({seed for name, seed in of if name == "{}_{}_{}".format(model, *points[0])})
    return [[of[f"{model}_{streets}_{steps}", seed] for streets, steps in points] for seed in seeds]


def budgets(rows: Sequence[Mapping], *, streets: int, images: int) -> str:
    """A table of how often each training of a study saw its streets: `images` in all, from a share of `streets`."""
    lines = ["streets  passes through them"]
    for fraction in sorted({row["fraction"] for row in rows}):
        lines.append(f"{round(streets * fraction):7,}  {images / (streets * fraction):20.0f}")
    return "\n".join(lines)
