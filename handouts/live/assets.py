"""What the experiments load: ONNX Runtime, the exported networks and the images, each in a script beside the pages.

A page opened from a file may fetch nothing, but it may add scripts: each hands its bytes, zipped, to `LIVE.put`.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import shutil
import tempfile
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import npm
import numpy as np
import torch

from lecture_utils import city_models, recipes, runtime, toycity
from lecture_utils.captioning.vocabulary import END, START
from lecture_utils.city_models import CITY_WORDS
from lecture_utils.cityscapes import CLASSES, PALETTE, TRAIN_ID
from lecture_utils.datasets import CLASSIFICATION_SIZE, DETECTION_SIZE, QUICK_SIZE, LabelledObjects
from lecture_utils.detection import heads
from lecture_utils.figures.boxes import class_colour
from lecture_utils.generative.diffusion import timesteps
from lecture_utils.tasks.photos import MEAN, STD, photo_transforms, to_photo
from lecture_utils.toycity.export import CATEGORIES
from live import sprites
from live.networks import FORKS, NETWORKS, export

HERE = Path(__file__).resolve().parent
RUNTIME = "onnxruntime-web@1.30.0"
# The plain build: it fetches nothing and evaluates no text. Its name here → its file there.
PARTS = {
    "ort-script": "ort.wasm.min.js",
    "ort-glue": "ort-wasm-simd-threaded.mjs",
    "ort-wasm": "ort-wasm-simd-threaded.wasm",
}
STREETS = OBJECTS = 6
STOPS = 25  # of the sampler
LARGE = 0.02  # of a street's pixels, the car


def make(folder: Path) -> str:
    """Put everything into `folder` unless it is there; return a sentence when that cannot be done, else "".

    Then there is no folder, and the pages keep their pictures. What was made of other files than today's is made again.
    """
    stamp, today = folder / "fingerprint", fingerprint()
    if stamp.exists() and stamp.read_text("ascii") == today:
        return ""
    shutil.rmtree(folder, ignore_errors=True)
    still = "the experiments of the handouts show pictures, nothing runs."
    if lacking := [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]:
        return f"No {', '.join(lacking)} (pip install): {still}"
    try:
        parts = npm.files(RUNTIME, [f"dist/{file}" for file in PARTS.values()])
    except npm.Missing as lack:
        return f"{lack}: {still}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        made, network = Path(work) / "live", Path(work) / "network.onnx"
        made.mkdir()
        for name, part in zip(PARTS, parts, strict=True):
            put(made, name, part)
        put(made, "worker", (HERE / "worker.js").read_bytes())
        for name in NETWORKS:
            export(name, network)
            put(made, name, network.read_bytes())
        for name, data in DATA.items():
            put(made, name, json.dumps(data()).encode())
        (made / "live.js").write_text(scripts(), "utf-8")
        (made / stamp.name).write_text(today, "ascii")
        os.replace(made, folder)
    return ""


def fingerprint() -> str:
    """A checksum of what the folder is made of: the files beside this one and the weights."""
    weights = {network.checkpoint for network in NETWORKS.values()}
    files = [path for path in HERE.rglob("*.*") if path.suffix in (".py", ".js")]
    files += [runtime.resource_path(f"checkpoints/{name}.safetensors") for name in weights]
    total = hashlib.sha256()
    for file in sorted(map(Path, files)):
        total.update(file.read_bytes())
    return total.hexdigest()


def scripts() -> str:
    """The page's own scripts in the order in which they need each other."""
    shared = ("runtime", "parts", "boxes", "sprites")
    files = [*(HERE / f"{name}.js" for name in shared), *sorted((HERE / "experiments").glob("*.js"))]
    return "\n".join(file.read_text("utf-8") for file in files)


def put(folder: Path, name: str, data: bytes) -> None:
    """Write bytes as a script that hands them to the page."""
    text = base64.b64encode(gzip.compress(data, mtime=0)).decode()
    (folder / f"{name}.js").write_text(f'LIVE.put("{name}", "{text}");\n', encoding="ascii")


@cache
def streets() -> dict:
    """The first streets of the test split with a car to paint, as the U-Net and BEiT see them, and their labels."""
    rendered = (toycity.render(toycity.sample_scene(seed), QUICK_SIZE) for seed in toycity.seeds("test", 500))
    with_car = (street for street in rendered if (street.labels == TRAIN_ID["car"]).mean() > LARGE)
    drawn = list(islice(with_car, STREETS))
    shown = [{"pixels": _packed(street.image), "labels": _packed(street.labels)} for street in drawn]
    return {"side": QUICK_SIZE, **_scale(), "classes": CLASSES, "palette": PALETTE.tolist(), "streets": shown}


@cache
def objects() -> dict:
    """The first images of the test split, one object on each, as the ViT sees them."""
    data, vit = LabelledObjects("test", OBJECTS, size=CLASSIFICATION_SIZE), city_models.vit()
    shown = [
        {"pixels": _packed(image.permute(1, 2, 0).numpy()), "label": label}
        for image, label in zip(data.images, data.labels, strict=True)
    ]
    sizes = {"patch": vit.patch_size, "layers": len(vit.blocks), "heads": vit.blocks[0].attend.heads}
    return {"side": CLASSIFICATION_SIZE, **sizes, **_scale(), "classes": LabelledObjects.classes, "objects": shown}


@cache
def patches() -> dict:
    """The streets as BEiT sees them: with their true visual tokens and the pixels that each token stands for."""
    model, shown = recipes.load("beit", device="cpu"), streets()
    images = torch.stack([_unpacked(street["pixels"], QUICK_SIZE) for street in shown["streets"]])
    truth = model.tokens(photo_transforms()(images))
    codes = to_photo(model.tokens.codebook.float().unflatten(1, (3, *[model.tokens.patch] * 2))).permute(0, 2, 3, 1)
    sizes = {"side": QUICK_SIZE, "patch": model.tokens.patch, "codes": _packed(codes.numpy())}
    both = zip(shown["streets"], truth.tolist(), strict=True)
    return {**sizes, **_scale(), "streets": [{"pixels": street["pixels"], "tokens": tokens} for street, tokens in both]}


@cache
def noise() -> dict:
    """What a sampler of the diffusion model needs: its steps and the share of the image that each leaves."""
    model = recipes.load("diffusion", device="cpu")
    steps = timesteps(model.steps, STOPS)
    return {"side": model.size, **_scale(), "steps": steps, "alphaBar": model.alpha_bar[steps].tolist(), "forks": FORKS}


@cache
def views() -> dict:
    """The streets as the captioner sees them, its words and its grid."""
    drawn = [toycity.render(toycity.sample_scene(seed), DETECTION_SIZE) for seed in toycity.seeds("test", STREETS)]
    return {
        "side": DETECTION_SIZE,
        **_scale(),
        "grid": city_models.GRID["grid"],
        "words": CITY_WORDS.words,
        "start": START,
        "end": END,
        "streets": [{"pixels": _packed(street.image)} for street in drawn],
    }


@cache
def movable() -> dict:
    """Streets with objects to drag over them, and all that detectors do behind their networks."""
    model = recipes.load("faster_rcnn", device="cpu")
    made = sprites.streets()
    first = made[0]["sprites"]
    car = next(one for one in first if one["name"] == sprites.FIRST[0] and one["size"] == "large")
    start = sprites.pasted(made[0]["pixels"], [(car, car["y"], car["x"])])
    return {
        "side": DETECTION_SIZE,
        **_scale(),
        "classes": ["background", *CATEGORIES],
        "colours": [class_colour(label) for label in range(1 + len(CATEGORIES))],
        "sizes": sprites.SIZES,
        "base": model.rpn.base.tolist(),
        "stride": model.rpn.anchor_stride,
        "grid": DETECTION_SIZE // model.rpn.anchor_stride,
        "rule": {"high": 0.7, "low": 0.3},  # as in RPN.losses
        "rpn": {
            "before": model.rpn.pre_nms_top_n,
            "after": model.rpn.post_nms_top_n,
            "threshold": model.rpn.nms_threshold,
        },
        "head": {
            "weights": heads.WEIGHTS,
            "least": model.head.score_threshold,
            "threshold": model.head.nms_threshold,
        },
        "still": {"pixels": _packed(start)},
        "streets": [_packed_street(street) for street in made],
    }


def _packed_street(street: dict) -> dict:
    sharp = sprites.as_address(street["sharp"], "jpeg")
    packed = [
        {
            **one,
            "height": one["mask"].shape[0],
            "width": one["mask"].shape[1],
            "pixels": _packed(one["pixels"]),
            "mask": _packed(one["mask"]),
            "sharp": sprites.as_address(one["sharp"], "png"),
        }
        for one in street["sprites"]
    ]
    return {**street, "pixels": _packed(street["pixels"]), "sharp": sharp, "sprites": packed}


DATA = {"streets": streets, "objects": objects, "patches": patches, "noise": noise, "views": views, "sprites": movable}


def _unpacked(text: str, side: int) -> torch.Tensor:
    pixels = np.frombuffer(base64.b64decode(text), np.uint8).reshape(side, side, 3)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def _scale() -> dict:
    return {"mean": MEAN, "std": STD}


def _packed(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, np.uint8).tobytes()).decode()
