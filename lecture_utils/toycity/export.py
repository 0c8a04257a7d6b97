"""Writes scenes to disk as the real data sets look: Cityscapes pairs (Kaggle's JPEGs) and COCO's JSON files.

    out/cityscapes_data/{train,val,test}/1.jpg …          photo left, colour mask right
    out/coco/{train,val,test}2017/000000000001.jpg …      the photo alone
    out/coco/annotations/{instances,captions}_train2017.json
    out/manifest_train.json                               written last: checksums of all of the above

A split is a range of seeds, and the ranges do not meet, so no test scene can be in training.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from io import BytesIO
from multiprocessing import current_process, get_context
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image
from tqdm import tqdm

from lecture_utils import files
from lecture_utils.cityscapes import colour_labels
from lecture_utils.processes import end_with_parent
from lecture_utils.toycity.describe import describe
from lecture_utils.toycity.layout import (
    SPLIT_SCENES,
    SPLITS,
    annotation_files,
    folders,
    made,
    mark,
    refuse_strangers,
)
from lecture_utils.toycity.render import Rendering, render
from lecture_utils.toycity.sample import sample_scene

FORMAT = 1  # raise it when the same seed gives another image: folders of the old kind are then made anew
MOST_WORKERS = 61  # Windows allows no more
CATEGORIES = ("person", "car", "traffic sign", "traffic light")
JPEG = {"quality": 90, "subsampling": 0}  # blurs colours over 8 × 8 blocks, as the real files do, and labels survive
COMMAND = "python -m lecture_utils data --out {out} --scenes {scenes} --size {size} --split {split}"


def seeds(split: str, scenes: int) -> range:
    """The seeds of the first `scenes` scenes of a split."""
    if split not in SPLITS:
        raise ValueError(f"split: got {split!r}, expected one of {', '.join(SPLITS)}")
    if isinstance(scenes, bool) or not isinstance(scenes, int | np.integer) or not 1 <= scenes <= SPLIT_SCENES:
        raise ValueError(f"scenes: got {scenes!r}, expected a whole number from 1 to {SPLIT_SCENES:,}")
    return range(SPLITS[split], SPLITS[split] + scenes)


def export(
    out, *, split: str = "train", scenes: int, size: int = 128, workers: int | None = None, quiet: bool = False
) -> Path:
    """Write `scenes` scenes of a split at size × size pixels below `out`, on all cores, and return `out`.

    Everything is made in a temporary folder and moved into place at the end: an interrupted run leaves what was there.
    Raises ValueError, nothing written, where `out` holds files of these names that the course did not make, or has too
    little room; OSError that says how much was needed where the disk is full in the end.
    """
    refuse_in_a_starting_worker()
    out, numbers = Path(out), seeds(split, scenes)
    if workers is not None and (isinstance(workers, bool) or workers not in range(1, MOST_WORKERS + 1)):
        raise ValueError(f"workers: got {workers!r}, expected a whole number from 1 to {MOST_WORKERS}")
    needed = _bytes_needed(numbers, size)  # a size that cannot be drawn is refused before anything is written
    refuse_strangers(out, split)
    if (free := files.free_bytes(out)) < needed:
        raise ValueError(f"scenes: got {scenes:,}, which need about {needed:,} bytes; {free:,} are free at {out}")
    with files.explained(out, needed), _making(out, split) as making:
        work = partial(_write_scene, making, split, size)
        bar = tqdm(
            _spread(work, numbers, workers), total=scenes, desc=f"toy city, {split}", unit=" scenes", disable=quiet
        )
        _write_annotations(making, split, size, list(bar))
        _write_manifest(making, split, scenes, size)
        refuse_strangers(out, split)  # who may have come since
        _move_into_place(making, out, split, scenes)
    return out


@contextmanager
def _making(out: Path, split: str) -> Iterator[Path]:
    """A temporary folder in `out` with the split's folders, removed in the end, and those of killed runs with it."""
    out.mkdir(parents=True, exist_ok=True)
    with FileLock(out / f".lock-{split}"):  # who comes second waits, and so removes nothing that is being made
        for leftover in out.glob(".making-*"):
            with suppress(Timeout):  # a living run holds its split's lock
                _remove_leftover(leftover, split)
        making = out / f".making-{split}-{os.getpid()}"
        try:
            for folder in (*folders(split), "coco/annotations"):
                (making / folder).mkdir(parents=True)
            yield making
        finally:
            shutil.rmtree(making, ignore_errors=True)


def _remove_leftover(leftover: Path, split: str) -> None:
    """Remove what a killed run was making, of this split, whose lock is held, or of another that nobody is making."""
    found = re.fullmatch(rf"\.making-({'|'.join(SPLITS)})-\d+", leftover.name)
    if found and found[1] == split:
        shutil.rmtree(leftover, ignore_errors=True)
    elif found:
        with FileLock(leftover.with_name(f".lock-{found[1]}"), timeout=0):
            shutil.rmtree(leftover, ignore_errors=True)


def refuse_in_a_starting_worker() -> None:
    """A worker that runs an unguarded script once more must die at once, so that its parent goes on alone."""
    if getattr(current_process(), "_inheriting", False):  # the flag that multiprocessing itself looks at
        raise RuntimeError("to use all cores, guard the script with: if __name__ == '__main__':")


def verify(out, split: str, *, scenes: int | None = None, size: int | None = None) -> list[str]:
    """What is wrong with a split below `out`: an empty list when every file is there, whole, and of the wanted kind.

    A photograph that the course did not make is wrong, too, because the readers would read it.
    """
    seeds(split, scenes or 1)
    out = Path(out)
    try:
        manifest = json.loads((out / f"manifest_{split}.json").read_text())
        files, made = dict(manifest["files"]), {key: manifest[key] for key in ("format", "scenes", "size")}
        whole = len(files) == 2 * made["scenes"] + len(annotation_files(split))
    except FileNotFoundError:
        return [f"{out}: has no manifest_{split}.json"]
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        return [f"{out / f'manifest_{split}.json'}: cannot be read, or does not name all files"]
    wanted = {"format": FORMAT, "scenes": scenes or made["scenes"], "size": size or made["size"]}
    problems = [f"{out}: {key} is {made[key]}, wanted {wanted[key]}" for key in wanted if made[key] != wanted[key]]
    for name, checksum in files.items():
        path = out / name
        if not path.is_file():
            problems.append(f"{path}: is missing")
        elif _checksum(path) != checksum:
            problems.append(f"{path}: is damaged")
    there = {path.relative_to(out).as_posix() for folder in folders(split) for path in (out / folder).glob("*.jpg")}
    problems += [f"{out / name}: is not of the course" for name in sorted(there - files.keys())]
    return problems


def pair(rendering: Rendering) -> np.ndarray:
    """Photo and colour mask side by side, as in Kaggle's data set: (size, 2 · size, 3) uint8."""
    return np.concatenate([rendering.image, colour_labels(rendering.labels)], axis=1)


def run_lengths(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed run-length code of a boolean mask (H, W): runs down the columns, zeros first."""
    column = np.asarray(mask, bool).ravel(order="F")
    # Where a run ends. A mask that begins with a one has an empty run of zeros before it; an empty mask has no runs.
    ends = np.flatnonzero(np.diff(column, prepend=np.False_, append=~column[-1:]))
    return np.diff(ends, prepend=0).tolist()


def _spread(work, numbers: range, workers: int | None) -> Iterable[dict]:
    """Do the work for each number in order, in several processes when there is enough of it."""
    workers = min(workers or os.cpu_count() or 1, -(-len(numbers) // 32), MOST_WORKERS)
    if workers <= 1:
        yield from map(work, numbers)
        return
    done = 0
    # New interpreters, not forks: a notebook has threads (torch's, Jupyter's) that a fork would copy half-alive.
    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
            for result in pool.map(work, numbers, chunksize=16):
                yield result
                done += 1
    except BrokenProcessPool:  # a script without `if __name__ == "__main__"` cannot be started again
        yield from map(work, numbers[done:])


def _write_scene(making: Path, split: str, size: int, seed: int) -> dict:
    """Write one scene's two JPEGs; return what the annotation files say of it."""
    scene = sample_scene(seed)
    rendering = render(scene, size)
    number = seed - SPLITS[split] + 1
    pairs, photos = (making / folder for folder in folders(split))
    (pairs / f"{number}.jpg").write_bytes(_jpeg(pair(rendering)))
    (photos / f"{number:012d}.jpg").write_bytes(_jpeg(rendering.image))
    objects = []
    for index, obj in enumerate(rendering.objects):
        x0, y0, x1, y1 = obj.box
        objects.append(
            {
                "image_id": number, "category_id": CATEGORIES.index(obj.category) + 1, "iscrowd": 0,
                "bbox": [x0, y0, x1 - x0, y1 - y0], "area": obj.area,
                "segmentation": {"size": [size, size], "counts": run_lengths(rendering.instances == index + 1)},
            }
        )  # fmt: skip
    return {"number": number, "objects": objects, "captions": describe(scene, rendering)}


def _jpeg(image: np.ndarray) -> bytes:
    """The file in memory: of a full disk Pillow would say "encoder error", the system says what it is."""
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", **JPEG)
    return file.getvalue()


def _bytes_needed(numbers: range, size: int) -> int:
    """About what the files of a split will take, from its first scenes."""
    renderings = [render(sample_scene(seed), size) for seed in numbers[:4]]
    labels = 4000  # of a scene, as text
    sizes = [len(_jpeg(pair(one))) + len(_jpeg(one.image)) + labels for one in renderings]
    return sum(sizes) * len(numbers) // len(sizes)


def _write_annotations(making: Path, split: str, size: int, results: list[dict]) -> None:
    info = {"description": f"toy city, {split}, seeds from {SPLITS[split]}", "version": str(FORMAT)}
    images = [
        {"id": r["number"], "file_name": f"{r['number']:012d}.jpg", "width": size, "height": size} for r in results
    ]
    objects = [obj for r in results for obj in r["objects"]]
    captions = [{"image_id": r["number"], "caption": caption} for r in results for caption in r["captions"]]
    categories = [{"id": i, "name": name, "supercategory": "street"} for i, name in enumerate(CATEGORIES, start=1)]
    for name, rows in zip(annotation_files(split), (objects, captions), strict=True):
        annotations = [{"id": i, **row} for i, row in enumerate(rows, start=1)]
        content = {"info": info, "images": images, "annotations": annotations}
        content |= {"categories": categories} if rows is objects else {}
        (making / name).write_text(json.dumps(content, separators=(",", ":")))


def _write_manifest(making: Path, split: str, scenes: int, size: int) -> None:
    files = sorted(path for path in making.rglob("*") if path.is_file())
    manifest = {
        "format": FORMAT, "command": COMMAND.format(out="…", scenes=scenes, size=size, split=split),
        "split": split, "scenes": scenes, "size": size, "first_seed": SPLITS[split],
        "files": {path.relative_to(making).as_posix(): _checksum(path) for path in files},
    }  # fmt: skip
    (making / f"manifest_{split}.json").write_text(json.dumps(manifest, indent=0))


def _move_into_place(making: Path, out: Path, split: str, scenes: int) -> None:
    """Replace an older split: its manifest goes first and the new one comes last, so a torn state is never trusted."""
    manifest = f"manifest_{split}.json"
    files.write(out / mark(split), str(max(scenes, made(out, split)[1])).encode())
    (out / manifest).unlink(missing_ok=True)
    for folder in folders(split):
        shutil.rmtree(out / folder, ignore_errors=True)
        (out / folder).parent.mkdir(parents=True, exist_ok=True)
        os.replace(making / folder, out / folder)
    (out / "coco/annotations").mkdir(exist_ok=True)
    for name in annotation_files(split):
        os.replace(making / name, out / name)
    os.replace(making / manifest, out / manifest)


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
