"""A mask that a reader paints on a street, and what BEiT fills in: the network itself, on a page without a kernel."""

import base64
import io
import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from html import escape

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image
from torch import Tensor

from lecture_course.nb12_beit.figures import COVER
from lecture_course.nb12_beit.mask_script import MASK_SCRIPT
from lecture_utils.explorers.stage import Pad, as_page, make_stage, outline, said
from lecture_utils.figures.style import BLUE, GREEN, ORANGE
from lecture_utils.tasks.masked_images import nearest_visible
from lecture_utils.tasks.photos import MEAN, STD, to_photo
from lecture_utils.transformers import MaskedImageModel, blockwise_mask

SIDE, SHARP = 352, 448  # CSS pixels of each of the two images; pixels of the street's
DRAWN = 12  # masks of each kind that a button chooses from
LIKELIEST = 5  # visual tokens that are shown for a patch
PILL = "display: inline-block; margin: 0.12em 0.15em; padding: 0.1em 0.5em; border-radius: 0.8em; cursor: pointer"
BUTTON = "font: inherit; margin: 0.12em 0.15em"
VIEWS = ("filled in", "true visual tokens", "the street itself")
SCRIPT = MASK_SCRIPT.replace("VIEWS", json.dumps(VIEWS)).replace("GREEN", GREEN).replace("BLUE", BLUE)
HINT = (
    "Paint on the left image; start on a hidden patch to uncover. By keyboard: tab to the image, arrow keys choose a "
    "patch, space hides or uncovers it, shift + arrow keys go on painting."
)


@dataclass(frozen=True)
class Street:
    """A street by its name: (H, W, 3) bytes to look at, and (c, h, w) floats as the network takes it."""

    name: str
    large: UInt8[np.ndarray, "H W 3"]
    image: Tensor

    @property
    def shown(self) -> UInt8[np.ndarray, "h w 3"]:
        """The image in not many more pixels than the page has for it."""
        photo = Image.fromarray(self.large)
        photo.thumbnail((SHARP, SHARP), Image.Resampling.LANCZOS)
        return np.asarray(photo)


class MaskPad(Pad):
    """Two images of a street: one on which a reader hides patches, one that a masked image model fills in.

    The weights stand on the page, rounded to eight bits, and the whole forward pass runs there, in a fraction of a
    second. `model` is that rounded copy, which everything that the pad says comes from.
    `mask` (h, w) is hidden first, on the first of the `streets`. Painted by pointer or by keyboard; buttons hide blocks
    or single patches, `hidden` of them at most. Beside it stand the share of the visual tokens that is found, that of
    the nearest visible patch, and for a chosen patch the likeliest tokens. No street, or a mask of another shape than
    the model's grid, is a ValueError.
    """

    def __init__(
        self,
        model: MaskedImageModel,
        streets: Sequence[Street],
        mask: Bool[Tensor, "h w"],
        *,
        hidden: int = 55,
        title: str = "Hide what you like: what does the network put there?",
        alt: str = "A street, on which patches can be hidden.",
    ):
        if not streets:
            raise ValueError("streets: got none, expected at least one")
        model = in_eight_bits(model)
        self.model, self.streets, self.grid = model, list(streets), model.backbone.grid
        if mask.shape != self.grid or mask.dtype != torch.bool:
            raise ValueError(f"mask: got {tuple(mask.shape)} of {mask.dtype}, expected {self.grid} of torch.bool")
        super().__init__(streets[0].shown, model.backbone.image_shape[1:], title, alt)
        self.stage, self.alt = replace(self.stage, frame=replace(self.stage.frame, width=SIDE)), alt
        self.mask, self.hidden = mask.cpu(), hidden
        device = next(model.parameters()).device
        images = torch.stack([street.image for street in streets]).to(device)
        with torch.no_grad():
            self.truth = model.tokens(images).cpu()
            words, completed = model.complete(images[:1], mask[None].to(device))
        self.words, self.filled, self.photos = words[0].cpu(), to_photo(completed)[0].cpu(), to_photo(images).cpu()

    @property
    def found(self) -> tuple[int, int, int]:
        """At first: patches that are hidden, of these found by the model, and by taking the nearest visible one."""
        hidden, truth = self.mask.flatten(), self.truth[0]
        near = truth[nearest_visible(hidden[None], self.grid)[0]]
        return tuple(int(part.sum()) for part in (hidden, (self.words == truth)[hidden], (near == truth)[hidden]))

    @property
    def chosen(self) -> int:
        """The number of the patch whose likeliest tokens are shown first: a hidden one, if there is one."""
        hidden = self.mask.flatten().nonzero()[:, 0]
        return int(hidden[len(hidden) // 2]) if len(hidden) else 0

    def _state(self) -> str:
        number, model, near = self.found
        return (
            f"{self.streets[0].name}: {number} of {self.mask.numel()} patches hidden, {model} visual tokens found, "
            f"{near} by the nearest visible patch"
        )

    def _page(self) -> str:
        pixels = to_photo(self.model.tokens.codebook.float().unflatten(1, (3, *[self.model.tokens.patch] * 2)))
        frames = [make_stage(street.shown, None, self.alt).frame for street in self.streets[1:]]
        backbone = self.model.backbone
        data = {
            "grid": self.grid,
            "patch": self.model.tokens.patch,
            "dim": backbone.dim,
            "heads": backbone.blocks[0].attend.heads,
            "depth": len(backbone.blocks),
            "mlp": backbone.blocks[0].mlp[0].out_features,
            "vocabulary": len(self.model.tokens.codebook),
            "mean": MEAN,
            "std": STD,
            **weights_of(self.model),
            "codes": packed(pixels.cpu().permute(0, 2, 3, 1).numpy()),
            "streets": [
                {"shown": frames[k - 1].address if k else "", "pixels": packed(photo.numpy()), "truth": truth.tolist()}
                for k, (photo, truth) in enumerate(zip(self.photos, self.truth, strict=True))
            ],
            "cursor": self.chosen,
            "mask": self.mask.flatten().int().tolist(),
            "blocks": masks(self.grid, self.hidden),
            "single patches": masks(self.grid, self.hidden, min_num_patches=1, max_num_patches=1, aspect=1.0),
            "names": [street.name for street in self.streets],
            "most": LIKELIEST,
        }
        column = f"max-width: {SIDE}px; flex: 1 1 {SIDE}px; line-height: 1.5"
        filled = (
            f'<img data-part="filled" src="{as_png(self.filled)}" alt="The street as the network fills it in." '
            f'style="width: {SIDE}px; max-width: 100%; height: auto; image-rendering: pixelated; border-radius: 4px">'
        )
        grid = f"a grid of {self.grid[0]} × {self.grid[1]} patches"
        painted = self.stage.html(self._lines(), attributes=f'role="img" aria-label="{grid}"')
        stage = (
            '<div style="display: flex; flex-wrap: wrap; gap: 0.8em; justify-content: center">'
            f'<div style="{column}"><div>grey: hidden from the network</div>{painted}</div>'
            f'<div style="{column}"><div data-part="view">{VIEWS[0]}</div>{filled}</div></div>'
        )
        return as_page(self.title, self._state(), stage, self._controls(), script=SCRIPT, data=data, width=44)

    def _lines(self) -> str:
        (height, width), (h, w) = self.stage.size, self.grid
        cells = [
            (k % w * width / w, k // w * height / h, width / w, height / h) for k in self.mask.flatten().nonzero()[:, 0]
        ]
        rects = "".join(f"M{x:g} {y:g}h{a:g}v{b:g}h{-a:g}z" for x, y, a, b in cells)
        cursor = outline("cursor", [(0, 0, width / w, height / h)], ORANGE)
        return (
            f'<path data-part="cover" d="{rects}" fill="{COVER}"/>'
            f'<g data-part="cursor-group" style="display: none">{cursor}</g>'
        )

    def _controls(self) -> str:
        buttons = "".join(
            f'<button type="button" data-do="{name}" style="{BUTTON}">{escape(name)}</button>'
            for name in ("blocks", "single patches", "uncover all", "undo")
        )
        rows = [
            _radios("street", [street.name for street in self.streets]) if len(self.streets) > 1 else "",
            f'<div role="group" aria-label="hide"><strong>hide</strong> {buttons}</div>',
            _radios("brush", ["1 × 1 patch", "3 × 3 patches"]),
            _radios("right image", VIEWS),
            f'<div style="font-weight: bold; min-height: 3em">{said("said")}</div>',
            f'<div>{said("where")}<div data-part="guesses" style="min-height: 5.4em"></div></div>',
            f"<div>{HINT}</div>",
        ]
        return f'<form style="margin: 0; display: grid; gap: 0.4em">{"".join(rows)}</form>'


@torch.no_grad()
def in_eight_bits(model: MaskedImageModel) -> MaskedImageModel:
    """A copy of which each row of a large matrix is rounded to whole multiples, -127 to 127, of a step of its own."""
    model = deepcopy(model).eval()
    for weight in filter(is_large, model.parameters()):
        whole, steps = rows_of(weight)
        weight.copy_((whole * steps[:, None]).view_as(weight))
    return model


def is_large(weight: Tensor) -> bool:
    return weight.ndim > 1 and weight[0].numel() >= 8


def rows_of(weight: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of a matrix as whole numbers (rows, columns), and the step of each row, which half precision holds."""
    rows = weight.detach().flatten(1)
    steps = (rows.abs().amax(1) / 127).clamp(min=1e-7).half().float()
    return (rows / steps[:, None]).round().clamp(-127, 127), steps


def weights_of(model: MaskedImageModel) -> dict[str, str | list[list[int]]]:
    """The weights in the order in which the page's forward pass takes them.

    `parts` has (rows, columns) of each; those with rows stand in `bytes`, their steps and all others in `halves`.
    """
    backbone = model.backbone
    parts = [backbone.patch_embed.weight, backbone.patch_embed.bias, backbone.class_token, backbone.mask_token]
    for block, bias in zip(backbone.blocks, backbone.biases, strict=True):
        attend = block.attend
        parts += [block.norm_self.weight, block.norm_self.bias, attend.query.weight, attend.query.bias]
        parts += [attend.key.weight, attend.value.weight, attend.value.bias, attend.out.weight, attend.out.bias]
        parts += [bias.table, block.scales[0], block.norm_mlp.weight, block.norm_mlp.bias]
        parts += [block.mlp[0].weight, block.mlp[0].bias, block.mlp[-1].weight, block.mlp[-1].bias, block.scales[1]]
    parts += [model.norm.weight, model.norm.bias, model.predict.weight, model.predict.bias]
    sizes, whole, halves = [], [], []
    for part in (part.detach().cpu() for part in parts):
        if large := is_large(part):
            rows, steps = rows_of(part)
            whole.append(rows.flatten().to(torch.int8))
        sizes.append([len(steps), rows.shape[1]] if large else [0, part.numel()])
        halves.append((steps if large else part.flatten()).half())
    return {"parts": sizes, "bytes": packed(torch.cat(whole).numpy()), "halves": packed(torch.cat(halves).numpy())}


def masks(grid: tuple[int, int], hidden: int, **how: float) -> list[list[int]]:
    """Masks drawn in advance, each as the numbers of its hidden patches."""
    dice = torch.Generator().manual_seed(0)
    drawn = (blockwise_mask(grid, hidden, generator=dice, **how) for _ in range(DRAWN))
    return [mask.flatten().nonzero()[:, 0].tolist() for mask in drawn]


def packed(values: np.ndarray) -> str:
    """The bytes of an array as text."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def as_png(image: UInt8[Tensor, "3 h w"]) -> str:
    """An image as an address that needs no file."""
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _radios(name: str, values: Sequence[str]) -> str:
    buttons = "".join(
        f'<label style="{PILL}; border: 1px solid #BBBBBB"><input type="radio" name="{name}" value="{k}" '
        f'autocomplete="off" style="margin: 0 0.25em 0 0"{" checked" * (k == 0)}>{escape(value)}</label>'
        for k, value in enumerate(values)
    )
    return f'<div role="radiogroup" aria-label="{name}"><strong>{name}</strong> {buttons}</div>'
