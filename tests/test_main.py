"""The commands of `python -m lecture_utils`, as a shell sees them."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from lecture_utils import checkpoints, recipes, runtime, studies, tasks
from lecture_utils.__main__ import machine, main
from lecture_utils.tasks import segmentation
from lecture_utils.toycity import export, verify


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    for split, scenes in (("train", 10), ("test", 3)):
        export(folder, split=split, scenes=scenes, size=64, quiet=True)
    return folder


def test_data_writes_a_split(tmp_path, capsys):
    out = tmp_path / "city"
    assert main(["data", "--out", str(out), "--scenes", "3", "--size", "64", "--split", "val"]) == 0
    assert verify(out, "val", scenes=3, size=64) == []
    assert "3 scenes of 64 × 64 pixels" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["unet", "fcn8s"])
def test_evaluate_ends_with_one_line_of_json(pairs, capsys, name):
    assert main(["evaluate", name, "--root", str(pairs), "--json"]) == 0
    *table, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)
    assert result["name"] == name
    assert result["scenes"] == 3
    assert set(result["metrics"]) == {"accuracy", "miou", "miou_thin"}
    assert any("IoU road" in line for line in table)


def test_train_stops_and_goes_on(pairs, tmp_path, capsys):
    arguments = ["train", "pixel", "--root", str(pairs), "--batch-size", "2", "--checkpoint", str(tmp_path / "p.st")]
    assert main([*arguments, "--steps", "3"]) == 0
    assert "3 steps in" in capsys.readouterr().out
    assert main([*arguments, "--steps", "3"]) == 0  # finished: returns at once
    assert main([*arguments, "--steps", "4"]) == 2  # another training
    assert "steps" in capsys.readouterr().err


def test_a_training_on_other_data_is_no_training_to_go_on_with(pairs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other"
    export(other, split="train", scenes=10, size=64, quiet=True)
    arguments = ["train", "pixel", "--batch-size", "2", "--steps", "2"]
    assert main([*arguments, "--root", str(pairs)]) == 0
    for changes in (["--root", str(other)], ["--root", str(pairs), "--size", "32"]):
        assert main([*arguments, *changes]) == 2
        assert "runs/pixel.safetensors is of another training" in capsys.readouterr().err
        assert main([*arguments, *changes, "--restart"]) == 0
        assert main([*arguments, *changes]) == 0  # its own


@pytest.mark.parametrize(
    ("slip", "message"),
    [
        (["train", "unett"], "name: got 'unett', expected one of"),
        (["train", "../notes"], "name: got '../notes', expected one of"),
        (["train", "/etc/passwd"], "name: got '/etc/passwd', expected one of"),
        (["train", "pixel", "--root", "nowhere"], "nowhere"),
        (["train", "pixel", "--lr", "nan"], "lr: expected a positive number, got nan"),
        (["train", "pixel", "--lr", "-1"], "lr: expected a positive number, got -1.0"),
        (["train", "pixel", "--steps", "0"], "steps: got 0"),
        (["train", "pixel", "--batch-size", "1000000000"], "batch_size: got 1000000000, expected"),
        (["train", "pixel", "--workers", "1000000"], "workers: got 1000000, expected"),
        (["train", "pixel", "--size", "1000000"], "size: got 1000000, expected a whole number of at most 4,096"),
        (["train", "pixel", "--seed", "-1"], "seed: expected an integer from 0"),
        (["train", "unet", "--checkpoint", "runs/pixel.safetensors"], "recipe 'pixel' there, 'unet' here"),
        (["train", "pixel", "--checkpoint", "notes.safetensors"], "notes.safetensors is damaged or no safetensors"),
        (["train", "pixel", "--checkpoint", "weights.safetensors"], "weights.safetensors is not of a training"),
        (["train", "pixel", "--checkpoint", "runs"], "checkpoint: expected the path of a file"),
        (["train", "pixel", "--checkpoint", ""], "checkpoint: expected the path of a file"),
        (["train", "pixel", "--checkpoint", "notes.safetensors/x"], "notes.safetensors/x: cannot be written"),
        (["study", "../notes"], "name: got '../notes', expected one of"),
    ],
)
def test_beginning_again_by_a_slip_changes_nothing(pairs, tmp_path, capsys, monkeypatch, slip, message):
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "pixel", "--root", str(pairs), "--batch-size", "2", "--steps", "2"]
    assert main(arguments) == 0
    (tmp_path / "notes.safetensors").write_text("my thesis")
    checkpoints.save(tmp_path / "weights.safetensors", {"x": torch.ones(1)}, {})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    capsys.readouterr()
    if slip[0] == "train":
        slip = [*slip[:2], *arguments[2:], *slip[2:]]
    assert main([*slip, "--restart"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_train_wrote_can_be_evaluated(pairs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "pixel", "--root", str(pairs), "--batch-size", "2", "--steps", "2"]
    assert main([*arguments, "--workers", "1"]) == 0
    written = "runs/pixel.safetensors"
    assert written in capsys.readouterr().out
    assert main(["evaluate", "pixel", "--root", str(pairs), "--split", "train", "--checkpoint", written]) == 0
    assert "pixel on 10 unseen scenes" in capsys.readouterr().out
    assert main(["evaluate", "unet", "--root", str(pairs), "--checkpoint", written]) == 2
    assert "runs/pixel.safetensors is of pixel, expected one of unet" in capsys.readouterr().err


def test_shipping_scores_the_weights_as_they_are_stored(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(segmentation, "toy_city", lambda: pairs)
    monkeypatch.setattr(runtime, "checkout", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["x", "train", "pixel", "--ship"])
    assert main(["train", "pixel", "--steps", "3", "--batch-size", "2", "--ship"]) == 0
    card = checkpoints.card("pixel")
    assert (card["steps"], card["scenes"], card["seed"]) == (3, 3, 0)
    assert card["command"] == "python -m lecture_utils train pixel --ship"
    assert card["data"] == tasks.segmentation.SEGMENTATION.description
    _, scores = recipes.evaluate("pixel", recipes.load("pixel"), runtime.setup(quiet=True))
    assert card["metrics"]["accuracy"] == round(scores["accuracy"], 4)
    assert not (tmp_path / "runs/pixel.safetensors").exists()


def test_a_card_tells_what_the_weights_score_in_fp32_and_in_bf16(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(segmentation, "toy_city", lambda: pairs)
    monkeypatch.setattr(runtime, "checkout", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LECTURE_DEVICE", "cpu")
    monkeypatch.setenv("LECTURE_PRECISION", "fp32")
    assert main(["train", "pixel", "--steps", "3", "--batch-size", "2", "--ship"]) == 0
    card = checkpoints.card("pixel")
    assert card["precision"] == "fp32"
    run = replace(runtime.setup(quiet=True), precision="bf16")
    scores = recipes.metrics(recipes.evaluate("pixel", recipes.load("pixel"), run)[1])
    assert card["metrics_by_precision"] == {"bf16": scores}
    assert scores != card["metrics"]
    path = runtime.resource_path("checkpoints/pixel.json")
    checkpoints.write(path, json.dumps({**card, "metrics_by_precision": {}}).encode())  # as cards were before
    assert main(["evaluate", "pixel", "--ship"]) == 0
    assert checkpoints.card("pixel") == card


@pytest.mark.parametrize(("device", "named"), [("cpu", r"\d+ cores of \w+, bf16, torch"), ("mps", "GPU of .*, bf16")])
def test_a_card_names_the_device(device, named):
    assert re.match(named, machine(SimpleNamespace(device=device, precision="bf16")))


def test_train_runs_in_two_processes(pairs, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += ["-m", "lecture_utils", "train", "pixel", "--root", str(pairs), "--steps", "2", "--batch-size", "2"]
    command += ["--checkpoint", str(tmp_path / "two.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("2 steps in") == 1  # only the first process speaks


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "vgg"], "name: got 'vgg', expected one of unet, unet_without_skips, fcn"),
        (["train", "unet", "--root", "nowhere"], "nowhere"),
        (["train", "unet", "--root", "nowhere", "--ship"], "--ship: expected neither --root nor --size"),
        (["train", "unet", "--checkpoint", "x", "--ship"], "--ship: expected no --checkpoint"),
        (["study", "depth"], f"name: got 'depth', expected one of {', '.join(studies.STUDIES)}"),
        (["train", "pixel", "--size", "-4"], "size: got -4, expected a whole number of at least 8"),
        (["evaluate", "vit", "--size", "0"], "size: got 0, expected a whole number of at least 8"),
        (["data", "--out", "x"], "--out and --scenes: expected both, or --quick"),
        (["data", "--out", "x", "--scenes", "3", "--size", "9"], "size: got 9, expected"),
        (["data", "--out", "x", "--scenes", "3", "--split", "dev"], "split: got 'dev', expected one of"),
        (["data", "--out", "x", "--scenes", "3", "--workers", "1000000"], "workers: got 1000000, expected"),
        (["train", "pixel", "--lr", "nan"], "lr: expected a positive number, got nan"),  # told before the city is made
    ],
)
def test_wrong_input_is_one_line_and_status_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LECTURE_DATA", str(tmp_path / "data"))
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_doctor_says_whether_the_course_can_run(capsys, monkeypatch):
    from lecture_utils import doctor

    for able, status in ((True, 0), (False, 1)):
        monkeypatch.setattr(doctor, "report", lambda everything, able=able: (f"a table, {everything}", able))
        assert main(["doctor"]) == status
    assert "a table, False" in capsys.readouterr().out
    assert main(["doctor", "--all"]) == 1
    assert "a table, True" in capsys.readouterr().out


def test_a_missing_library_is_one_line(pairs, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert main(["train", "rcnn", "--root", str(pairs), "--steps", "1"]) == 2
    assert "train: selective_search: OpenCV is not installed here" in capsys.readouterr().err
