"""Commands with one wrong word: they must answer with one line and leave the user's files as they were."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from bad_files import city
from judge import Case

from lecture_utils.__main__ import main

NO_COUNT = ("0", "-1", "1.5", "x", "", "1e3", "9" * 30)
NO_RATE = ("0", "-1", "nan", "inf", "x", "")
NO_MODEL = ("unte", "../unet", "/unet", "unet/", "", "runs/unet.safetensors", "UNET", "u net", "..")
NO_ROOT = ("{folder}/absent", "{folder}/text", "{folder}/empty", "{folder}/foreign")
WRONG = {
    "train": {
        "name": NO_MODEL, "--steps": NO_COUNT, "--batch-size": (*NO_COUNT, "1000000000"), "--lr": NO_RATE,
        "--size": (*NO_COUNT, "7", "10000000"), "--workers": ("-1", "x", "1.5", "1000000"),
        "--seed": ("-1", "x", "4294967296"), "--root": NO_ROOT,
        "--checkpoint": ("{folder}/empty", "{folder}/text", "{folder}/text/more.safetensors"),
    },
    "evaluate": {
        "name": NO_MODEL, "--split": ("", "tset", "../train", "test2017"), "--size": (*NO_COUNT, "7"),
        "--root": NO_ROOT,
        "--checkpoint": ("{folder}/absent.safetensors", "{folder}/text", "{folder}/empty"),
    },
    "data": {
        "--scenes": NO_COUNT, "--size": (*NO_COUNT, "63", "513"), "--split": ("", "tset", "../train"),
        "--workers": (*NO_COUNT[:5], "1000000"), "--out": ("{folder}/text", "{folder}/foreign"),
    },
    "study": {"name": ("", "bottlneck", "../bottleneck")},
}  # fmt: skip
RIGHT = {
    "train": {"name": "unet", "--root": "{pairs}", "--size": "32", "--steps": "1", "--batch-size": "2",
              "--checkpoint": "{folder}/runs/unet.safetensors"},
    "evaluate": {"name": "unet", "--root": "{pairs}", "--size": "32", "--split": "train"},
    "data": {"--out": "{folder}/city", "--scenes": "1", "--size": "64", "--split": "val", "--workers": "1"},
    "study": {"name": "bottleneck"},
}  # fmt: skip


def bad_commands(dice: Random, folder: Path) -> Case:
    """A command of which one word is wrong."""
    make_folder(folder)
    command = dice.choices(list(WRONG), weights=(6, 4, 4, 1))[0]
    option = dice.choice(list(WRONG[command]))
    words = RIGHT[command] | {option: dice.choice(WRONG[command][option])}
    more = ["--restart"] if command == "train" and dice.random() < 0.5 else []
    arguments = [word.format(folder=folder, pairs=city() / "cityscapes_data") for word in spoken(command, words)] + more
    name = option.removeprefix("--").replace("-", "_")
    value = words[option].format(folder=folder)
    what = f"{command} … {option} {words[option]!r} {' '.join(more)}"
    return Case("commands", what, unchanged(folder, arguments), names=(option, name, value or "''", "size"))


def spoken(command: str, words: dict[str, str]) -> Iterator[str]:
    yield command
    for option, value in words.items():
        # One word, so that "-1" is a value.
        yield value if option == "name" else f"{option}={value}"


def make_folder(folder: Path) -> None:
    """What a user may have: a text, an empty folder, photographs of their own, and a training that took hours."""
    (folder / "empty").mkdir(parents=True)
    (folder / "foreign/cityscapes_data/val").mkdir(parents=True)
    (folder / "foreign/cityscapes_data/val/1.jpg").write_bytes(b"a photograph of mine")
    (folder / "foreign/coco/annotations").mkdir(parents=True)
    (folder / "foreign/coco/annotations/instances_val2017.json").write_text('{"mine": 1}')
    (folder / "text").write_text("a text of mine")
    (folder / "runs").mkdir()
    shutil.copy(trained(), folder / "runs/unet.safetensors")


def trained() -> Path:
    """The checkpoint of a short training, made once."""
    path = city() / "unet.safetensors"
    if not path.exists():
        words = RIGHT["train"] | {"--checkpoint": str(path), "--steps": "2"}
        assert main([w.format(pairs=city() / "cityscapes_data") for w in spoken("train", words)]) == 0
    return path


def unchanged(folder: Path, arguments: list[str]) -> Callable[[], int]:
    def call() -> int:
        before = contents(folder)
        try:
            return main(arguments)
        finally:
            assert contents(folder) == before, "the user's files have changed"

    return call


def contents(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.endswith(".lock")]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def right_commands(folder: Path) -> Iterator[Case]:
    make_folder(folder)
    for command in ("train", "evaluate", "data"):
        words = RIGHT[command] | ({"--checkpoint": "{folder}/new.safetensors"} if command == "train" else {})
        arguments = [word.format(folder=folder, pairs=city() / "cityscapes_data") for word in spoken(command, words)]
        yield Case("commands", " ".join(arguments), lambda a=arguments: main(a))
