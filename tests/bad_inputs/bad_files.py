"""Files as they come: each folder is right but for one object, and is then read from its first item to its last."""

import atexit
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from random import Random
from zlib import crc32

import numpy as np
import torch
from judge import Case
from PIL import Image
from torch import Tensor

from lecture_utils import checkpoints, resuming
from lecture_utils.datasets import CityscapesPairs, CocoCaptions, CocoInstances, Flickr8k
from lecture_utils.datasets.flickr import SPLITS
from lecture_utils.toycity import export

sys.path.append(str(Path(__file__).parents[1] / "datasets"))
from samples_on_disk import caption_content, coco_content, coco_folder

NO_ID = (None, [], {}, 1.5, "", "seven", True)
NO_SIZE = (None, 0, -3, "wide", [], 1e9, float("nan"))
NO_NAME = (None, 3, "", [], "../secret.jpg", "/etc/hostname", "absent.jpg", "a\0b.jpg")
NO_BOX = (None, "box", [], [1, 2, 3], [1, 2, 3, 4, 5], [1, 2, -3, 4], [1, 2, None, 4], [1, 2, "x", 4], [[1, 2, 3, 4]],
          [float("nan"), 2, 3, 4], [1, 2, float("inf"), 4], {"x": 1})  # fmt: skip
NO_SHAPE = (None, "", 5, [], {}, [[]], [[1, 2]], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6, 7]], [["a", 2, 3, 4, 5, 6]],
            [[1, 2, None, 4, 5, 6]], {"size": [37, 53]}, {"size": [1, 1], "counts": [1]},
            {"size": [37, 53], "counts": [3, 4]}, {"size": [37, 53], "counts": [-1, 37 * 53 + 1]},
            {"size": [37, 53], "counts": None}, {"size": "37", "counts": [37 * 53]})  # fmt: skip
NO_SENTENCE = (None, 3, [], {}, "", "   ", ["A car."])

# (section, field): the values that make a record wrong. Records of the first image or annotation are changed.
INSTANCES = {
    ("images", "id"): NO_ID, ("images", "file_name"): NO_NAME, ("images", "width"): NO_SIZE,
    ("images", "height"): NO_SIZE, ("annotations", "image_id"): (*NO_ID, 12345),
    ("annotations", "category_id"): (*NO_ID, 12345), ("annotations", "bbox"): NO_BOX,
    ("annotations", "segmentation"): NO_SHAPE, ("annotations", "iscrowd"): ("maybe", 7, [], -1),
    ("annotations", "id"): NO_ID, ("categories", "id"): NO_ID, ("categories", "name"): (None, 3, "", []),
}  # fmt: skip
CAPTIONS = {
    ("images", "id"): NO_ID, ("images", "file_name"): NO_NAME, ("annotations", "image_id"): (*NO_ID, 12345),
    ("annotations", "caption"): NO_SENTENCE,
}  # fmt: skip
NO_CONTENT = (None, [], 3, "text", {}, {"images": []}, {"images": None}, {"images": {}, "annotations": []})


def read(data) -> None:
    for index in range(len(data)):
        data[index]


def bad_files(dice: Random, folder: Path) -> Case:
    """One wrong object in a folder of a kind that the course reads, or in a checkpoint."""
    return dice.choice((bad_instances, bad_captions, bad_pairs, bad_flickr, bad_checkpoint))(dice, folder)


def bad_instances(dice: Random, folder: Path) -> Case:
    images, annotations = coco_folder(folder)
    what = spoil(dice, annotations, coco_content(), INSTANCES, images)
    return Case("COCO", what, lambda: read(CocoInstances(images, annotations)), names=(str(folder),))


def bad_captions(dice: Random, folder: Path) -> Case:
    images, annotations = coco_folder(folder)
    annotations = annotations.with_name("captions_train2017.json")
    what = spoil(dice, annotations, caption_content(), CAPTIONS, images)
    return Case("captions", what, lambda: read(CocoCaptions(images, annotations)), names=(str(folder),))


def spoil(dice: Random, file: Path, content: dict, fields: dict, images: Path) -> str:
    """Make one object wrong in an annotation file or a photograph; returns what."""
    content = deepcopy(content)
    match dice.randrange(8):
        case 0:
            content = dice.choice(NO_CONTENT)
            what = f"the whole content {content!r}"
        case 1:
            section = dice.choice(
                [section for section in content if isinstance(content[section], list) and content[section]]
            )
            content[section] = dice.choice((None, 5, {}, "x", [None], [3], [{}]))
            what = f"{section} {content[section]!r}"
        case 2:
            text = json.dumps(content).encode()
            at = dice.randrange(len(text) - 1)
            file.write_bytes(text[:at])
            return f"cut after {at} bytes"
        case 3:
            return spoil_picture(dice, images / dice.choice(content["images"])["file_name"])
        case 4:
            (section, field), _ = dice.choice(list(fields.items()))
            record = dice.randrange(2)
            del content[section][record][field]
            what = f"{section}[{record}] without {field}"
        case _:
            (section, field), values = dice.choice(list(fields.items()))
            record, value = dice.randrange(2), dice.choice(values)
            content[section][record][field] = value
            what = f"{section}[{record}].{field} = {value!r}"
    file.write_text(json.dumps(content))
    return what


def spoil_picture(dice: Random, path: Path, *, ways: int = 5) -> str:
    """Make one image unreadable."""
    data = path.read_bytes()
    match dice.randrange(ways):
        case 0:
            path.write_bytes(data[: dice.randrange(len(data) * 9 // 10)])
            return f"{path.suffix} cut short"
        case 1:
            path.write_bytes(dice.randbytes(dice.randrange(2000)))
            return "noise for an image"
        case 2:
            path.unlink()
            path.mkdir()
            return "a folder for an image"
        case 3:
            path.write_text("<html>404</html>")
            return "a page for an image"
        case _:
            path.unlink()
            return "no image"


@cache
def city() -> Path:
    """A few scenes of the toy city, made once and removed when the process ends."""
    root = Path(tempfile.mkdtemp(prefix="bad-inputs-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    export(root, split="train", scenes=4, size=64, workers=1)
    return root


def bad_pairs(dice: Random, folder: Path) -> Case:
    shutil.copytree(city() / "cityscapes_data/train", folder / "train")
    files = sorted((folder / "train").glob("*.jpg"))
    path = dice.choice(files)
    match dice.randrange(6):
        case 0 | 1:
            what = spoil_picture(dice, path, ways=4)  # a number that is left out is no fault
        case 2:
            Image.open(path).resize((129, 64)).save(path)
            what = "an odd width"
        case 3:
            Image.open(path).convert("L").save(path)
            what = "a grey image"
        case 4:
            for each in files:  # the mask on the left
                picture = np.asarray(Image.open(each))
                Image.fromarray(np.roll(picture, picture.shape[1] // 2, axis=1)).save(each, quality=95)
            what = "masks on the left"
        case _:
            for each in files:
                picture = Image.open(each)
                picture.crop((0, 0, picture.width // 2, picture.height)).save(each, quality=95)
            what = "photographs alone"
    return Case("pairs", what, lambda: read(CityscapesPairs(folder, "train")), names=(str(folder),))


def bad_flickr(dice: Random, folder: Path) -> Case:
    (folder / "Images").mkdir(parents=True)
    names = [f"{number}_{dice.randrange(99)}.jpg" for number in range(30)]
    for name in names:
        Image.new("RGB", (20, 16), (dice.randrange(256), 90, 30)).save(folder / "Images" / name)
    rows = ["image,caption", *(f"{name},A car , and a man ." for name in names for _ in range(2))]
    learned = [at for at, row in enumerate(rows) if at and crc32(row.split(",")[0].encode()) % 10 in SPLITS["train"]]
    at = dice.choice(learned)
    name = rows[at].split(",")[0]
    spoiled = {
        "no header": rows[1:],
        "another header": ["image|comment", *rows[1:]],
        "a line without a sentence": [*rows[:at], name, *rows[at:]],
        "a line with an empty sentence": [*rows[:at], f"{name},  ", *rows[at:]],
        "a quote that does not end": [*rows[:at], f'{name},"A car', *rows[at:]],
        "a line without a name": [*rows[:at], ",A car.", *rows[at:]],
        "a name that leads out": [rows[0], *(f"../{row}" for row in rows[1:])],
        "an absolute name": [rows[0], *(f"/etc/{row}" for row in rows[1:])],
        "names of no photographs": [rows[0], *(f"x{row}" for row in rows[1:])],
        "nothing": [],
        "a header alone": rows[:1],
    }
    what = dice.choice([*spoiled, "bytes that are no text", "a photograph"])
    if what in spoiled:
        (folder / "captions.txt").write_text("\n".join(spoiled[what]) + "\n")
    elif what == "a photograph":
        (folder / "captions.txt").write_text("\n".join(rows) + "\n")
        for each in names:
            spoil_picture(Random(at), folder / "Images" / each)
    else:
        (folder / "captions.txt").write_bytes("\n".join(rows).encode() + b"\n\xff\xfe\x00,\xc3\n")
    return Case("Flickr8k", what, lambda: read(Flickr8k(folder, "train")), names=(str(folder),))


class Net(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


SETTINGS = {"model": "Net", "steps": 5}
NO_STATE = (
    {"settings": None}, {"settings": [5]}, {"settings": {"steps": 6}}, {"history": None}, {"history": {}},
    {"history": {"losses": "x", "metrics": [], "seconds": 0}},
    {"history": {"losses": [1.0], "metrics": 7, "seconds": 0}},
    {"history": {"losses": [1.0], "metrics": [], "seconds": "x"}},
    {"history": {"losses": [1.0] * 9, "metrics": [], "seconds": 0}}, {"history": {"losses": [], "more": 3}},
    {"scaler": None}, {"scaler": {"scale": 3}}, {"optimizer": None}, {"optimizer": ["0.weight"]},
)  # fmt: skip


def bad_checkpoint(dice: Random, folder: Path) -> Case:
    """A checkpoint of a training with one object wrong; the model must be left as it was."""
    torch.manual_seed(dice.randrange(2**31))
    path, fresh = folder / "net.safetensors", Net()
    save_trained(path)
    tensors, state = checkpoints.read(path)
    what = spoil_tensors(dice, tensors) if dice.random() < 0.5 else ""
    if what:
        checkpoints.save(path, tensors, state)
    elif dice.random() < 0.5:
        change = dice.choice([*NO_STATE, None, 3, [], "x", {}])
        what = f"metadata with {change!r}"
        checkpoints.save(path, tensors, state | change if isinstance(change, dict) and change else change)
    else:
        what = spoil_bytes(dice, path)
    return Case("checkpoint", what, all_or_nothing(fresh, path), names=(str(path),))


def save_trained(path: Path) -> None:
    """The checkpoint of a training of one step."""
    model, scaler = Net(), torch.amp.GradScaler("cpu", enabled=False)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(4, 3)).square().sum().backward()
    optimizer.step()
    history = {"losses": [1.0], "metrics": [], "seconds": 0.5}
    resuming.save_training(path, model, optimizer, scaler, settings=SETTINGS, history=history)


def spoil_tensors(dice: Random, tensors: dict[str, Tensor]) -> str:
    """Make one tensor wrong, leave one out or add one; returns what."""
    name = dice.choice([name for name, tensor in tensors.items() if tensor.is_floating_point()])
    match dice.randrange(5):
        case 0:
            tensors[name] = torch.full_like(tensors[name], float("nan"))
            return f"{name} not finite"
        case 1:
            tensors[name] = tensors[name].to(dice.choice((torch.int64, torch.uint8, torch.bool, torch.complex64)))
            return f"{name} of {tensors[name].dtype}"
        case 2:
            tensors[name] = torch.zeros(dice.choice(((1,), (7, 7), (2, 3, 1))))
            return f"{name} of shape {tuple(tensors[name].shape)}"
        case 3:
            del tensors[name]
            return f"without {name}"
        case _:
            tensors[f"{name}.more"] = torch.zeros(2)
            return "a tensor too many"


def spoil_bytes(dice: Random, path: Path) -> str:
    """Cut a file short or turn one of its bits; returns what."""
    data = bytearray(path.read_bytes())
    at = dice.randrange(len(data))
    cut = dice.random() < 0.5
    data[at] ^= 1 << dice.randrange(8)
    path.write_bytes(bytes(data[:at] if cut else data))
    return f"cut after {at} bytes" if cut else f"a bit of byte {at} turned"


def all_or_nothing(model: torch.nn.Module, path: Path) -> Callable[[], object]:
    """What loads a checkpoint, and notices where a refused one has changed the model or the optimizer."""

    def load() -> object:
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        optimizer, scaler = torch.optim.AdamW(model.parameters()), torch.amp.GradScaler("cpu", enabled=False)
        try:
            saved = resuming.read_training(path, model, optimizer, scaler, settings=SETTINGS)
            return resuming.load_training(saved, model, optimizer, scaler)
        except ValueError:
            whole = all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
            if not whole or optimizer.state:
                raise AssertionError("half loaded") from None
            raise

    return load


def right_files(folder: Path) -> Iterator[Case]:
    """The same folders with nothing wrong."""
    images, annotations = coco_folder(folder / "coco")
    captions = annotations.with_name("captions_train2017.json")
    yield Case("COCO", "right", lambda: read(CocoInstances(images, annotations)))
    yield Case("captions", "right", lambda: read(CocoCaptions(images, captions)))
    yield Case("pairs", "right", lambda: read(CityscapesPairs(city() / "cityscapes_data", "train")))
    save_trained(folder / "net.safetensors")
    yield Case("checkpoint", "right", all_or_nothing(Net(), folder / "net.safetensors"))
