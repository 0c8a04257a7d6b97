"""A convolution whose numbers are typed: on a page without a kernel, by keyboard as well (slides 8, 10 and 11)."""

import hashlib
import json
from collections.abc import Sequence
from html import escape

import torch
import torch.nn.functional as F

from lecture_utils.figures.grids import format_number
from lecture_utils.figures.style import BLUE

LARGEST = 6  # rows or columns of what is typed
OPERATIONS = {"transposed": "transposed convolution", "convolution": "convolution (cross-correlation)"}

# `terms` gives, for each output cell, the [input row, input column, kernel row, kernel column] that are multiplied.
TERMS = """
const terms = (x, kernel, stride, transposed) => {
  const [h, w, kh, kw] = [x.length, x[0].length, kernel.length, kernel[0].length];
  const size = (n, k) => transposed ? (n - 1) * stride + k : Math.floor((n - k) / stride) + 1;
  const rows = Math.max(0, size(h, kh)), columns = Math.max(0, size(w, kw));
  const out = Array.from({length: rows}, () => Array.from({length: columns}, () => []));
  const [ys, xs] = transposed ? [h, w] : [rows, columns];
  for (let i = 0; i < ys; i++) for (let j = 0; j < xs; j++) for (let a = 0; a < kh; a++) for (let b = 0; b < kw; b++) {
    const far = [i * stride + a, j * stride + b];
    if (transposed) out[far[0]][far[1]].push([i, j, a, b]);
    else out[i][j].push([...far, a, b]);
  }
  return out;
};
"""

SCRIPT = """
for (const figure of document.querySelectorAll('figure[data-convolution="KEY"]:not([data-alive])')) {
  TERMS
  const [stride, operation] = ["stride", "operation"].map(name => figure.querySelector(`select[name="${name}"]`));
  const result = figure.querySelector(".convolution-result"), said = figure.querySelector(".convolution-sum");
  const cells = name => [...figure.querySelectorAll(`table[data-name="${name}"] tr`)]
    .map(row => [...row.querySelectorAll("input")]);
  const [x, kernel] = [cells("input"), cells("kernel")], all = [...x, ...kernel].flat();
  const worth = input => input.value.trim() === "" || Number.isNaN(Number(input.value)) ? 0 : Number(input.value);
  const text = value => String(Math.round(value * 1000) / 1000).replace("-", "−");
  const signed = value => value < 0 ? `(${text(value)})` : text(value);
  let found = [];
  const mark = each => {
    all.forEach(input => { input.style.outline = ""; });
    const used = each.flatMap(([i, j, a, b]) => [x[i][j], kernel[a][b]]);
    for (const input of used) input.style.outline = "3px solid COLOUR";
  };
  const total = each => each.reduce((sum, [i, j, a, b]) => sum + worth(x[i][j]) * worth(kernel[a][b]), 0);
  const explain = (row, column) => {
    const each = found[row][column], at = `Output, row ${row + 1}, column ${column + 1}: `;
    const sum = each.map(([i, j, a, b]) => `${signed(worth(x[i][j]))} · ${signed(worth(kernel[a][b]))}`).join(" + ");
    said.textContent = at + (sum ? `${sum} = ` : "no input value reaches it: ") + text(total(each));
    mark(each);
  };
  const compute = () => {
    const numbers = input => input.map(row => row.map(worth));
    found = terms(numbers(x), numbers(kernel), Number(stride.value), operation.value === "transposed");
    result.replaceChildren(...found.map((row, i) => {
      const line = document.createElement("tr");
      row.forEach((each, j) => {
        const cell = line.insertCell(), button = document.createElement("button");
        button.type = "button";
        button.textContent = text(total(each));
        button.setAttribute("aria-label", `output, row ${i + 1}, column ${j + 1}: ${button.textContent}`);
        button.style.cssText = "CELL; font-weight: bold; cursor: pointer";
        for (const event of ["click", "focus", "mouseenter"]) button.addEventListener(event, () => explain(i, j));
        cell.append(button);
      });
      return line;
    }));
    said.textContent = found.length && found[0].length ? HINT : "The kernel is larger than the input: no output.";
    mark([]);
  };
  for (const control of [...all, stride, operation]) {
    control.addEventListener("input", compute);
    control.addEventListener("keydown", event => event.stopPropagation());  // JupyterLab has shortcuts of its own
  }
  figure.querySelector(".explorer-controls").style.display = "";
  figure.querySelector(".explorer-state").style.display = "none";
  figure.dataset.alive = "";
  compute();
}
"""

HINT = "Change a number, or choose a cell of the output: here stands how it is computed."
CELL = (
    "width: 3em; height: 2em; padding: 0; font: inherit; text-align: center; color: inherit; background: transparent; "
    "border: 1px solid #777777; border-radius: 2px"
)
TABLE = "border-collapse: separate; border-spacing: 3px; margin: 0; width: auto"


class ConvolutionPad:
    """A small input and kernel whose numbers can be typed, and the (transposed) convolution, as a cell's last value.

    `x` (h, w) and `kernel` (kh, kw) hold the numbers at first, at most 6 rows and columns each. `stride` is 1 or 2 and
    `operation` "transposed" or "convolution" at first: two menus change them. One channel, no padding, and, as in deep
    learning, no flipped kernel. A chosen cell of the output says how it is computed. No kernel, network or library is
    needed; where no script runs, and on paper, the first numbers stand. Bad arguments are a ValueError.
    """

    def __init__(
        self,
        x: Sequence[Sequence[float]],
        kernel: Sequence[Sequence[float]],
        *,
        stride: int = 2,
        operation: str = "transposed",
        title: str = "Type your own numbers",
    ):
        self.x, self.kernel = _matrix("x", x), _matrix("kernel", kernel)
        if stride not in (1, 2):
            raise ValueError(f"stride: got {stride!r}, expected 1 or 2")
        if operation not in OPERATIONS:
            raise ValueError(f"operation: got {operation!r}, expected one of {', '.join(OPERATIONS)}")
        if not str(title).strip():
            raise ValueError("title: got an empty text, expected a few words")
        if operation == "convolution" and any(k > n for k, n in zip(self.kernel.shape, self.x.shape, strict=True)):
            sizes = f"{tuple(self.kernel.shape)} on {tuple(self.x.shape)}"
            raise ValueError(f"kernel: got {sizes}, expected one that fits into the input")
        self.stride, self.operation, self.title = stride, operation, " ".join(str(title).split())

    @property
    def output(self) -> torch.Tensor:
        """What the first numbers give, (h_out, w_out), by torch."""
        convolve = F.conv_transpose2d if self.operation == "transposed" else F.conv2d
        return convolve(self.x[None, None], self.kernel[None, None], stride=self.stride)[0, 0]

    def __repr__(self) -> str:
        words = f"{OPERATIONS[self.operation]}, stride {self.stride}"
        matrices = {"input": self.x, "kernel": self.kernel, "output": self.output}
        return f"{self.title}: {words}; " + ", ".join(f"{name} {_words(values)}" for name, values in matrices.items())

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict:
        return {"text/html": self._page(), "text/plain": repr(self)}

    def _page(self) -> str:
        key = hashlib.sha256(repr(self).encode()).hexdigest()[:12]
        names = {"KEY": key, "TERMS": TERMS.strip(), "HINT": json.dumps(HINT), "CELL": CELL, "COLOUR": BLUE}
        script = SCRIPT
        for name, value in names.items():
            script = script.replace(name, value)
        strides = {"1": "1", "2": "2"}
        menus = _menu("operation", OPERATIONS, self.operation) + _menu("stride", strides, str(self.stride))
        row = "display: flex; flex-wrap: wrap; gap: 0.6em 2em; justify-content: center; align-items: center"
        typed = _typed("input", self.x) + _typed("kernel", self.kernel)
        output = f'<div><div>output</div><table class="convolution-result" style="{TABLE}"></table></div>'
        return (
            f'<figure class="explorer" data-convolution="{key}" style="margin: 0.5em 0; text-align: center">'
            f"<figcaption><strong>{escape(self.title)}</strong>"
            '<div class="explorer-controls" data-lm-suppress-shortcuts="true" style="display: none">'
            f'<div style="{row}; margin: 0.4em 0">{menus}</div><div style="{row}">{typed}{output}</div>'
            f'<div class="convolution-sum" role="status" style="min-height: 3em; margin: 0.4em 0">{HINT}</div></div>'
            f'<div class="explorer-state">{escape(repr(self).removeprefix(self.title + ": "))}</div>'
            f"</figcaption></figure><script>{script}</script>"
        )


def _matrix(name: str, values: Sequence[Sequence[float]]) -> torch.Tensor:
    try:
        matrix = torch.as_tensor(values, dtype=torch.float32).detach().cpu()
    except (TypeError, ValueError) as problem:
        raise ValueError(f"{name}: got {values!r}, expected rows of numbers, all of one length ({problem})") from None
    if matrix.ndim != 2 or not 1 <= min(matrix.shape) <= max(matrix.shape) <= LARGEST:
        got = f"shape {tuple(matrix.shape)}"
        raise ValueError(f"{name}: got {got}, expected (rows, columns), each from 1 to {LARGEST}")
    if not matrix.isfinite().all():
        raise ValueError(f"{name}: got {matrix.tolist()}, expected finite numbers")
    return matrix


def _words(values: torch.Tensor) -> str:
    return " / ".join(" ".join(map(format_number, row)) for row in values.tolist())


def _typed(name: str, values: torch.Tensor) -> str:
    """A table of fields; in a browser, tab goes on to the next one."""
    rows = ""
    for i, row in enumerate(values.tolist(), 1):
        fields = (
            f'<td><input type="number" step="any" value="{value:g}" autocomplete="off" '
            f'aria-label="{name}, row {i}, column {j}" style="{CELL}"></td>'
            for j, value in enumerate(row, 1)
        )
        rows += f"<tr>{''.join(fields)}</tr>"
    return f'<div><div>{name}</div><table data-name="{name}" style="{TABLE}">{rows}</table></div>'


def _menu(name: str, options: dict[str, str], chosen: str) -> str:
    each = "".join(
        f'<option value="{key}"{" selected" * (key == chosen)}>{escape(words)}</option>'
        for key, words in options.items()
    )
    return f'<label>{name} <select name="{name}" autocomplete="off" style="font: inherit">{each}</select></label>'
