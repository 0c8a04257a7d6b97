"""The right answers of notebook 12 written out, the edits that make them wrong, and what each says to its author."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lecture_course.engine.definitions import mistakes
from lecture_utils.transformers.masking import block_shape

BLOCK_MISTAKES = mistakes(
    block_shape,
    {
        "math.sqrt(area / aspect) → area / min(max(round(math.sqrt(area * aspect)), 1), grid[0])": "The width comes "
        "from the height that was rounded already: round both at the end.",
        "(height, width) → (width, height)": "Height and width are exchanged: the aspect is height / width, and the "
        "height comes first.",
        "area * aspect) → area) * aspect; area / aspect) → area) / aspect": "The aspect is not under the root: then "
        "height · width is the area, but height / width is the aspect squared.",
        "math.sqrt → ": "The root is missing: area · aspect is the height squared.",
        "area * aspect → area; area / aspect → area": "Both sides are the root of the area: the aspect is not used.",
        "round → math.floor": "Round to the nearest whole number; yours are rounded down.",
        "round → math.ceil": "Round to the nearest whole number; yours are rounded up.",
        "min(max(round(side), 1), most) → max(round(side), 1)": "A block may be larger than the grid: cut each side to "
        "the grid's.",
        "max(round(side), 1) → round(side)": "A small block may vanish: each side is at least one patch.",
        "grid, strict → grid[::-1], strict": "The grid is (height, width); its sides are exchanged.",
        "round(side) → side": "Right sides, but no whole numbers: a patch is hidden or it is not.",
    },
)


def nearest(patches: Tensor, codebook: Tensor) -> Tensor:
    return (patches[:, None] - codebook).square().sum(-1).argmin(-1)


NEAREST_CODE_MISTAKES = mistakes(
    nearest,
    {
        "argmin → argmax": "That is the farthest code: take the argmin.",
        "argmin(-1) → argmin(0)": "For each code the nearest patch; asked for is the nearest code of each patch.",
        lambda patches, codebook: (patches @ codebook.T).argmax(-1): "The largest dot product is not the least "
        "distance: long codes win. Subtract half of |c|² from it.",
        lambda patches, codebook: F.cosine_similarity(patches[:, None], codebook, dim=-1).argmax(-1): "That is the "
        "code of the same direction (cosine); how bright a patch is counts, too.",
        "square().sum(-1) → sum(-1).abs()": "Differences of both signs cancel out in your sum; square them first.",
        "sum(-1) → sum(1)": "The argmin runs over the numbers of a patch; sum over these first.",
        "argmin → amin": "These are the distances; asked for is the number of the nearest code.",
        lambda patches, codebook: codebook[nearest(patches, codebook)]: "These are the nearest codes themselves; asked "
        "for are their numbers.",
        lambda patches, codebook: (codebook.square().sum(-1) - patches @ codebook.T).argmin(-1): "The factor 2 is "
        "missing in |x|² − 2x·c + |c|².",
        "square → abs": "You sum the absolute differences; the distance squares them.",
    },
)


def masked_loss(logits: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """`masked_token_loss` with the mask in a row: (b, n, vocabulary), (b, n), (b, n) → one number."""
    losses = -logits.log_softmax(-1).gather(-1, truth[..., None]).squeeze(-1)
    return losses[mask].mean()


MASKED_LOSS_MISTAKES = mistakes(
    masked_loss,
    {
        "[mask] → ": "That is the loss of all patches; only the hidden ones count.",
        "[mask] → [~mask]": "That is the loss of the visible patches; the mask is True where one is hidden.",
        "losses[mask] → (losses * mask)": "The visible ones count as 0, but they are still divided by: divide by the "
        "number of the hidden ones.",
        "mean → sum": "That is a sum; the loss is the mean over the hidden patches.",
        "losses[mask] → ((losses * mask).sum(1) / mask.sum(1).clamp(min=1))": "A mean for each image, then the mean "
        "of these: images with few hidden patches count too much.",
        "[mask] → ; -logits → -(logits * mask[..., None])": "The logits of visible patches are set to 0, and then they "
        "count as a guess among all visual tokens. Leave them out.",
        "log_softmax → softmax": "Those are probabilities, not their logarithms.",
        "log_softmax → softmax(-1).log_softmax": "The softmax is taken twice: F.cross_entropy takes the logits as they "
        "are.",
        ".mean() → ": "One loss for each hidden patch; asked for is their mean.",
    },
)


def relative_index(height: int, width: int) -> Tensor:
    """`relative_position_index` of the patches alone, without the class token: (h · w, h · w)."""
    place = torch.arange(height * width)
    rows, columns = place // width, place % width
    down = rows[:, None] - rows + height - 1
    across = columns[:, None] - columns + width - 1
    return down * (2 * width - 1) + across


RELATIVE_INDEX_MISTAKES = mistakes(
    relative_index,
    {
        lambda height, width: relative_index(height, width).T: "The other way round: it is the place of i less that of "
        "j.",
        "(2 * width - 1) → width": "A row of the table has 2 · width − 1 steps, not width: yours counts along the "
        "sequence, where different steps have one number.",
        "2 * width - 1 → 2 * height - 1": "A row of the table has 2 · width − 1 steps; you have taken the height.",
        "2 * width - 1 → 2 * width": "A row of the table has 2 · width − 1 steps, from −(width − 1) to width − 1: 2 · "
        "width is one too many.",
        "+ height - 1 → ; + width - 1 → ": "The steps are not moved to begin at 0: the smallest is −(height − 1), "
        "−(width − 1).",
        "+ height - 1 → ; + width - 1 → ; down * (2 * width - 1) + across → down.abs() * width + across.abs()": "To "
        "the left and to the right are not the same: keep the sign of a step.",
        "down * (2 * width - 1) + across → across * (2 * height - 1) + down": "Column after column; count along the "
        "rows.",
        "place // width → place // height; place % width → place % height": "Rows and columns are exchanged: patch i "
        "stands in row i // width, column i % width.",
        lambda height, width: torch.arange((height * width) ** 2).view(height * width, -1): "One number for each pair; "
        "pairs that lie alike must have the same.",
    },
)
