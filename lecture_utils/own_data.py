"""What is checked before a training or a scoring on data of one's own: their sizes, and whether they are the same."""

import shlex
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from lecture_utils import batches, checkpoints
from lecture_utils.datasets import DETECTION_SIZE, layouts
from lecture_utils.datasets.fingerprint import difference, reader_of

CITY = "the toy city"


def resolved(root: Path | str | None) -> str | None:
    """A data folder as checkpoints name it; None for the toy city."""
    return str(Path(root).resolve()) if root else None


def require_size(name: str, height: int, width: int | None = None, *, pixels: int | None, multiple: int) -> None:
    """Refuse images of a size that a model cannot take; one number is the side of a square."""
    width = height if width is None else width
    if (pixels and (height, width) != (pixels, pixels)) or height % multiple or width % multiple:
        wanted = f"{pixels} × {pixels} pixels" if pixels else f"sides that are multiples of {multiple}"
        mend = pixels or max(1, round(max(height, width) / multiple)) * multiple
        raise ValueError(f"size: got images of {height} × {width} pixels, {name} takes {wanted}: give --size {mend}")


def require_one_size(name: str, data: Dataset, root: Path | str | None, **takes: int | None) -> None:
    """Refuse files whose images are not resized and are of several sizes, or of one that a model cannot take."""
    reader = reader_of(data)
    if root is None or getattr(reader, "size", 0) is not None:  # all of a size that was asked for
        return
    sizes = Counter(reader.sizes.values())
    for height, width in [*sizes][:1] if len(sizes) == 1 else []:
        require_size(name, height, width, **takes)
    if len(sizes) > 1:
        first = {size: file for file, size in reversed(reader.sizes.items())}
        most = [f"{h} × {w} ({n}, as {first[h, w]})" for (h, w), n in sizes.most_common(3)]
        mend = takes["pixels"] or DETECTION_SIZE
        raise ValueError(
            f"root: {root} holds images of {len(sizes)} sizes, {', '.join(most)}{', …' * (len(sizes) > 3)}; expected "
            f"one, because they are joined in batches: give --size, as --size {mend}"
        )


def require_same(checkpoint: Path | str | None, root: Path | str | None, seen: dict[str, str] | None) -> None:
    """Refuse a checkpoint of a training on other data than a `root` with files of the fingerprint `seen`."""
    settings = checkpoints.settings(checkpoint) if checkpoint else {}
    if "recipe" not in settings:
        return  # nothing to go on with, or no training by a recipe, which `training.fit` refuses
    there, here = settings.get("root"), resolved(root)
    if there != here:
        what = f"learned from {there or CITY}, not from {here or CITY}"
    elif settings.get("data") != seen:
        before = settings.get("data")
        how = difference(before, seen) if isinstance(before, dict) and seen else "what it saw was not noted"
        what = f"the data of {root} changed since: {how}"
    else:
        return
    raise ValueError(
        f"checkpoint: {checkpoint} is of another training ({what}); give --restart to train again from the start, or "
        "another --checkpoint"
    )


def require_recipe(name: str, checkpoint: Path | str, metadata: dict) -> None:
    """Refuse a checkpoint that says it is of another recipe."""
    settings = metadata.get("settings") if isinstance(metadata, dict) else None
    there = settings.get("recipe", name) if isinstance(settings, dict) else name
    if there != name:
        raise ValueError(f"checkpoint: {checkpoint} is of {there}, expected one of {name}: give that name or file")


def dry_run(
    name: str, model: nn.Module, data: Dataset, loss: Callable, *, collate: Callable | None, batch_size: int
) -> None:
    """Take the loss of two items with a copy of the model, so that what does not fit is said before the first step."""
    with batches.keep_random_state(), torch.no_grad():
        items = [data[index % len(data)] for index in range(max(1, min(batch_size, 2)))]
        batch = (collate or default_collate)(items)
        try:
            loss(deepcopy(model).cpu().train(), batch)
        except (RuntimeError, ValueError) as problem:
            # Batch normalisation has a ValueError of its own, in torch's words, for one image that became one point.
            if isinstance(problem, ValueError) and "value per channel" not in str(problem):
                raise
            raise ValueError(
                f"size: {name} cannot learn from images of {_shape(batch)}, {len(items)} or more at a time; give "
                "another --size, or a larger --batch-size"
            ) from problem


def _shape(batch: Any) -> str:
    """The height and width of the images in a batch, wherever they stand in it."""
    images = next((one for one in batch if isinstance(one, Tensor) and one.ndim == 4), None)
    return "this size" if images is None else f"{images.shape[2]} × {images.shape[3]} points"


def evaluation(
    name: str, checkpoint: Path | str, *, root: Path | str | None, size: int | None, layout: str | None
) -> str:
    """The command that scores what `train` wrote on data it has not seen, for the shell."""
    command = ["python", "-m", "lecture_utils", "evaluate", name]
    if root:
        command += ["--root", str(root)]
    if size:
        command += ["--size", str(size)]
    held = layouts.splits(root, layout) if root and layout else ["test"]
    split = next((split for split in ("test", "val") if split in held), "train")
    command += ["--split", split] if split != "test" else []
    note = "  # has no val or test: these are what was learned from" if split == "train" else ""
    return shlex.join([*command, "--checkpoint", str(checkpoint)]) + note


def compatibility_warnings(
    name: str, checkpoint: Path | str | None, *, root: Path | str | None, size: int | None, files
) -> list[str]:
    """What tells that weights are scored on other data than they are for, a line each.

    `files()` opens what they learned from as it is now. Raises `ValueError` where the toy city would be scored with
    weights that learned from a folder: nobody wants that, and it looks like bad weights.
    """
    settings = checkpoints.settings(checkpoint) if checkpoint else {"recipe": name}
    if "recipe" not in settings:
        return []
    there, here = settings.get("root"), resolved(root)
    if there and not here:
        raise ValueError(f"root: {checkpoint} learned from {there}; give --root {shlex.quote(there)}, or its test data")
    whose = checkpoint or f"the shipped {name}"
    lines = []
    if there != here:
        lines.append(f"{whose} learned from {there or CITY}, and is scored on {here}")
    elif here and settings.get("data") and (how := difference(settings["data"], files() or settings["data"])):
        lines.append(f"the data of {root} changed since {whose} learned from it: {how}; train again with --restart")
    if checkpoint and settings.get("size") != size:
        asked = [f"--size {one}" if one else "no --size" for one in (settings.get("size"), size)]
        lines.append(f"{whose} learned with {asked[0]}, and is scored with {asked[1]}")
    return lines
