"""A two-dimensional latent space to move in, on a page without a kernel (slides 37 and 38)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lecture_course.nb13_whats_next.figures import enlarge
from lecture_utils.explorers.stage import Pad, as_page, number, outline, said, swatch, table
from lecture_utils.figures.style import INK, ORANGE

COLOURS = ("#FFFFFF", "#F0E442", "#56B4E9", "#000000")
TIMES = 2  # pixels on the page for each of a decoded crop's in the grid
SIDE, LARGE = 430, 208  # CSS pixels of the grid, and of the decoded crop beside it

SCRIPT = """
  const [rows, columns] = data.grid, image = figure.querySelector("img"), canvas = part("decoded");
  const context = canvas.getContext("2d");
  let [row, column] = data.start;
  const show = () => {
    const w = image.naturalWidth / columns, h = image.naturalHeight / rows;
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    if (w) context.drawImage(image, column * w + 0.5, row * h + 0.5, w - 1, h - 1, 0, 0, canvas.width, canvas.height);
    place(part("cursor"), [column * W / columns, row * H / rows, (column + 1) * W / columns, (row + 1) * H / rows]);
    const words = `z = (${text(data.across[column], 2, 2)}, ${text(data.down[row], 2, 2)})`;
    say("code", words);
    set(svg, {"aria-label": `a grid of ${rows} × ${columns} codes: ${words}`});
    announce(`${words}: ${data.kinds[row * columns + column]}`);
    say("near", data.kinds[row * columns + column]);
  };
  const go = (r, c) => { row = clip(r, 0, rows - 1); column = clip(c, 0, columns - 1); show(); };
  const move = event => { const [x, y] = at(event); go(Math.floor(y * rows / H), Math.floor(x * columns / W)); };
  svg.addEventListener("pointermove", move);
  svg.addEventListener("pointerdown", move);
  svg.addEventListener("keydown", event => {
    const by = arrow(event);
    if (!by) return;
    go(row + by[1], column + by[0]);
    event.preventDefault();
  });
  part("dots").addEventListener("change", event => {
    part("codes").style.display = event.target.checked ? "" : "none";
  });
  set(svg, {tabindex: 0, role: "application", "aria-roledescription": "grid of codes"});
  image.addEventListener("load", show);
"""


class LatentPad(Pad):
    """Decoded codes as a grid, over which a reader moves by pointer or arrow keys; the crop there is shown large.

    `decoded` is row after row from the top, `lines` the codes of columns (left to right) and rows (top to bottom). The
    `codes` of crops of each kind are dots on the grid, each kind in one of the `colours`, which a tick box shows;
    beside it stands the nearest one's kind. Shapes that do not fit are a ValueError.
    """

    def __init__(
        self,
        decoded: UInt8[Tensor, "rows columns 3 h w"],
        lines: tuple[Float[Tensor, " columns"], Float[Tensor, " rows"]],
        codes: Mapping[str, Float[Tensor, "n 2"]],
        *,
        colours: Sequence[str] = COLOURS,
        title: str = "Move in the latent space",
        alt: str = "A grid of decoded codes, which change smoothly from one to the next.",
    ):
        if tuple(map(len, reversed(lines))) != tuple(decoded.shape[:2]):
            got = f"{tuple(map(len, lines))} for {tuple(decoded.shape[:2])}"
            raise ValueError(f"lines: got {got}, expected as many codes as columns and rows")
        sheet = np.concatenate([np.concatenate([enlarge(one, TIMES) for one in row], 1) for row in decoded])
        super().__init__(sheet, None, title, alt)
        self.stage = replace(self.stage, frame=replace(self.stage.frame, width=SIDE))
        self.lines, self.codes, self.grid, self.colours = lines, dict(codes), tuple(decoded.shape[:2]), colours

    @property
    def start(self) -> tuple[int, int]:
        """Row and column in the middle, the code 0."""
        return self.grid[0] // 2, self.grid[1] // 2

    def nearest_kinds(self) -> list[str]:
        """The kind of the crop whose code is nearest to each code of the grid, row after row."""
        across, down = self.lines
        grid = torch.stack(torch.meshgrid(down, across, indexing="ij")[::-1], dim=-1).view(-1, 2)
        names = [name for name, codes in self.codes.items() for _ in codes]
        return [names[k] for k in torch.cdist(grid, torch.cat(list(self.codes.values()))).argmin(1).tolist()]

    def _state(self) -> str:
        row, column = self.start
        z = f"({number(self.lines[0][column].item(), 2, 2)}, {number(self.lines[1][row].item(), 2, 2)})"
        return f"z = {z}, nearest crop: {self.nearest_kinds()[row * self.grid[1] + column]}"

    def _page(self) -> str:
        data = {
            "grid": self.grid,
            "start": self.start,
            "across": [round(value, 3) for value in self.lines[0].tolist()],
            "down": [round(value, 3) for value in self.lines[1].tolist()],
            "kinds": self.nearest_kinds(),
        }
        stage = self.stage.html(self._lines(), attributes='role="img" aria-label="a grid of codes"')
        dots = [
            (f"{_dot(colour)} {name}", f"{len(codes)} crops")
            for colour, (name, codes) in zip(self.colours, self.codes.items(), strict=False)
        ]
        controls = (
            f'<canvas data-part="decoded" width="{2 * LARGE}" height="{2 * LARGE}" role="img" '
            f'aria-label="the decoded crop, enlarged" style="width: {LARGE}px; height: {LARGE}px; border-radius: 4px">'
            f"</canvas>{table([(swatch(ORANGE) + 'code', said('code')), ('nearest crop', said('near'))])}"
            '<label><input type="checkbox" data-part="dots" autocomplete="off"> codes of crops</label>' + table(dots)
        )
        return as_page(self.title, self._state(), stage, controls, script=SCRIPT, data=data, width=15)

    def _lines(self) -> str:
        height, width = self.stage.size
        (rows, columns), (row, column) = self.grid, self.start
        w, h = width / columns, height / rows
        groups = "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{colour}" stroke="{INK}" stroke-width="1.5"/>'
            for colour, codes in zip(self.colours, self.codes.values(), strict=False)
            for x, y in self._places(codes)
        )
        cursor = outline("cursor", [(column * w, row * h, (column + 1) * w, (row + 1) * h)], ORANGE)
        return f'<g data-part="codes" style="display: none">{groups}</g>{cursor}'

    def _places(self, codes: Float[Tensor, "n 2"]) -> list[tuple[float, float]]:
        """Codes inside the grid as points of the image."""
        found = []
        for axis, (line, side, count) in enumerate(
            zip(self.lines, self.stage.size[::-1], self.grid[::-1], strict=True)
        ):
            step = (line[-1] - line[0]) / (count - 1)
            found.append(((codes[:, axis] - line[0]) / step + 0.5) * side / count)
        height, width = self.stage.size
        return [(x, y) for x, y in zip(*(f.tolist() for f in found), strict=True) if 0 < x < width and 0 < y < height]


def _dot(colour: str) -> str:
    style = f"display: inline-block; width: 0.8em; height: 0.8em; border-radius: 50%; background: {colour}"
    return f'<span style="{style}; border: 1px solid {INK}"></span>'


@torch.no_grad()
def decode_grid(
    decoder: torch.nn.Module, *, columns: int = 15, rows: int = 15, reach: float = 2.2
) -> tuple[Float[Tensor, "rows columns 3 h w"], tuple[Float[Tensor, " columns"], Float[Tensor, " rows"]]]:
    """Decode codes of an even grid; the second number grows upwards, as on a map."""
    across, down = torch.linspace(-reach, reach, columns), torch.linspace(reach, -reach, rows)
    codes = torch.stack(torch.meshgrid(down, across, indexing="ij")[::-1], dim=-1).view(-1, 2)
    images = decoder(codes.to(next(decoder.parameters()).device)).cpu()
    return images.unflatten(0, (rows, columns)), (across, down)
