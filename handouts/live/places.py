"""Where the experiments stand on the pages: behind the section that asks their question, and all on one playground."""

from __future__ import annotations

import base64
import io
import re
import tomllib
from collections.abc import Mapping
from html import escape
from pathlib import Path

import numpy as np
import pages
from nbformat import NotebookNode
from PIL import Image

from live.assets import DATA

SCALE = 4  # page pixels of a pixel in the picture of an experiment that does not run


def experiments() -> dict[str, dict]:
    """The experiments in their order: name → its entry in experiments.toml."""
    return tomllib.loads(Path(__file__).with_name("experiments.toml").read_text(encoding="utf-8"))


def place(notebooks: Mapping[str, NotebookNode], *, runs: bool) -> None:
    """Write each notebook's experiments into its prose, each at the end of its section; cells keep their numbers.

    A section that is not there is a ValueError.
    """
    for title, notebook in notebooks.items():
        here = {name: entry for name, entry in experiments().items() if title.startswith(f"{entry['notebook']}_")}
        for name, entry in here.items():
            before_next_heading(notebook, entry["after"], html(name, entry, runs=runs))
        if here and runs:
            notebook.cells[-1].source += f"\n\n{scripts('../')}\n"


def before_next_heading(notebook: NotebookNode, heading: str, text: str) -> None:
    """Write `text` before the heading that follows `heading`, or behind all prose where none does."""
    passed = False
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        for found in pages.headings(cell):
            line = re.search(rf"(?m)^#+ +{re.escape(found)} *#*$", cell.source)
            if passed:
                cell.source = f"{cell.source[: line.start()]}{text}\n\n{cell.source[line.start() :]}"
                return
            passed = found == heading
    if not passed:
        raise ValueError(f"heading: got {heading!r}, expected one of {pages.title(notebook)}")
    cell.source += f"\n\n{text}\n"


def playground(*, runs: bool) -> str:
    """The page with all experiments."""
    page = (
        "# Playground\n\nNetworks of this course that answer what you do, in this page: nothing is sent anywhere, and "
        "none of it needs a connection. Each experiment stands in its notebook, too, behind the section that asks its "
        "question.\n"
    )
    for name, entry in experiments().items():
        page += f"\n## {entry['title']}\n\n{html(name, entry, runs=runs)}\n"
    return page + f"\n{scripts('')}\n" * runs


def scripts(root: str) -> str:
    """What makes the experiments of a page run; `root` leads from the page to the site's."""
    return f'<script src="{root}_static/live/live.js"></script>'


def html(name: str, entry: Mapping, *, runs: bool) -> str:
    """An experiment: its question, its first image until it runs, and what its answer means."""
    means = "".join(f"<p>{escape(' '.join(entry[key].split()))}</p>" for key in ("means", "own") if key in entry)
    why = "" if runs else "<p>These handouts were made without ONNX Runtime, so nothing runs here: a picture.</p>"
    picture = f'<img src="{still(entry["data"])}" alt="The first of the images of this experiment.">'
    return (
        f'<div class="live" data-live="{name}" data-networks="{" ".join(entry["networks"])}">'
        f'<p class="live-title">Try it: {escape(entry["title"])}</p>'
        f"<p><strong>Predict:</strong> {escape(' '.join(entry['question'].split()))}</p>"
        f'<div class="live-stage">{picture}{why}</div><details><summary>What it means</summary>{means}</details></div>'
    )


def still(data: str) -> str:
    """The first image of an experiment's, as an address that needs no file; noise where it begins with noise."""
    made = DATA[data]()
    side, first = made["side"], made.get("still") or (made.get("streets") or made.get("objects") or [None])[0]
    pixels = np.random.default_rng(0).integers(0, 256, 3 * side * side, np.uint8)
    if first:
        pixels = np.frombuffer(base64.b64decode(first["pixels"]), np.uint8)
    file, wide = io.BytesIO(), side * SCALE
    Image.fromarray(pixels.reshape(side, side, 3)).resize((wide, wide), Image.Resampling.NEAREST).save(file, "png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
