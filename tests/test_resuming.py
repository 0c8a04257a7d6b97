"""Checkpoints of trainings: loaded whole or not at all, held by one training, replaced by nothing else."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import safetensors.torch
import torch
from training_worker import Noisy, cpu, cross_entropy, net

from lecture_utils import checkpoints, files, resuming
from lecture_utils.training import fit

SETTINGS = {"loss": cross_entropy, "steps": 6, "batch_size": 5, "checkpoint_every": 3, "quiet": True}


def train(path, model=None, run=None, **changes):
    return fit(model or net(), Noisy(), run=run or cpu(), checkpoint=path, **SETTINGS | changes)


def stopped(path, **changes):
    """A training that was broken off after its checkpoint at step 3."""
    calls = iter(range(99))

    def loss(model, batch):
        if next(calls) == 4:
            raise InterruptedError
        return cross_entropy(model, batch)

    with pytest.raises(InterruptedError):
        train(path, loss=loss, **changes)
    return path.read_bytes()


def prepared(model, precision="fp32"):
    optimizer = torch.optim.AdamW(model.parameters())
    return model, optimizer, torch.amp.GradScaler("cpu", enabled=precision == "fp16")


def test_an_optimizer_comes_back_with_its_memory_format(tmp_path):
    model, optimizer, scaler = prepared(net(plain=True).to(memory_format=torch.channels_last))
    model(torch.rand(2, 3, 8, 9)).square().sum().backward()
    optimizer.step()
    path, history = tmp_path / "a.safetensors", {"losses": [0.5], "metrics": [], "seconds": 1.0}
    resuming.save_training(path, model, optimizer, scaler, settings={"steps": 9}, history=history)
    assert "optimizer.exp_avg.0.weight" in checkpoints.read(path)[0]

    parts = other, fresh, scaler = prepared(net(plain=True, seed=1).to(memory_format=torch.channels_last))
    assert resuming.load_training(resuming.read_training(path, *parts, settings={"steps": 9}), *parts) == history
    for mine, theirs in zip(other.parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
        assert fresh.state[mine].keys() == optimizer.state[theirs].keys() == {"step", "exp_avg", "exp_avg_sq"}
        for key, value in optimizer.state[theirs].items():
            assert torch.equal(fresh.state[mine][key], value)
        assert fresh.state[mine]["exp_avg"].stride() == mine.stride()
        assert not fresh.state[mine]["exp_avg"].requires_grad
    assert resuming.read_training(tmp_path / "none", *parts, settings={}) is None


def test_a_parameter_that_no_loss_reaches_is_resumed_without_moments(tmp_path):
    def model():
        whole = net()
        whole.spare = torch.nn.Linear(2, 2)
        whole.forward = lambda x: torch.nn.Sequential(*list(whole)[:-1])(x)
        return whole

    stopped(tmp_path / "a", model=model())
    assert train(tmp_path / "a", model()).steps == 6


# Forged and damaged


def set_tensor(name, value):
    def change(tensors, metadata):
        tensors[name] = value(tensors[name]) if callable(value) else value

    return change


def drop_tensor(name):
    return lambda tensors, metadata: tensors.pop(name)


def put(value, *keys):
    def change(tensors, metadata):
        inner = metadata
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value

    return change


def drop(*keys):
    def change(tensors, metadata):
        inner = metadata
        for key in keys[:-1]:
            inner = inner[key]
        del inner[keys[-1]]

    return change


HISTORY = {"losses": [0.5, 0.5, 0.5], "metrics": [], "seconds": 1.0}
FORGED = {
    "a nan weight": (
        set_tensor("model.0.weight", lambda x: x * math.nan),
        "0.weight holds numbers that are not finite",
    ),
    "whole weights": (set_tensor("model.0.weight", lambda x: x.long()), "0.weight holds whole numbers there"),
    "complex weights": (set_tensor("model.0.bias", lambda x: x + 0j), "0.bias holds complex numbers"),
    "a fractional counter": (set_tensor("model.1.num_batches_tracked", torch.tensor(3.5)), "num_batches_tracked holds"),
    "a missing weight": (drop_tensor("model.0.weight"), "0.weight is missing"),
    "a nan moment": (set_tensor("optimizer.exp_avg.0.weight", lambda x: x / 0), "exp_avg of 0.weight holds numbers"),
    "a moment of another shape": (set_tensor("optimizer.exp_avg.0.bias", torch.ones(5)), r"exp_avg of 0.bias is \(5,"),
    "a whole moment": (
        set_tensor("optimizer.exp_avg_sq.0.bias", lambda x: x.long()),
        "exp_avg_sq of 0.bias holds whole",
    ),
    "a negative square": (
        set_tensor("optimizer.exp_avg_sq.0.bias", lambda x: x - 1),
        "0.bias cannot come from 3 steps",
    ),
    "a step of no scalar": (set_tensor("optimizer.step.0.bias", torch.ones(3)), "step of 0.bias is"),
    "a step too late": (set_tensor("optimizer.step.0.bias", torch.tensor(9.0)), "0.bias cannot come from 3 steps"),
    "a missing moment": (drop_tensor("optimizer.exp_avg_sq.0.bias"), "entries of 0.bias are"),
    "a moment too many": (set_tensor("optimizer.max_exp.0.bias", torch.ones(6)), "entries of 0.bias are"),
    "moments of nobody": (set_tensor("optimizer.exp_avg.9.bias", torch.ones(6)), "not those of its list"),
    "a tensor of nobody": (set_tensor("other", torch.ones(1)), "other is neither the model's nor the optimizer's"),
    "an odd name": (set_tensor("optimizer.exp_avg", torch.ones(1)), "not those of its list"),
    "no list": (drop("optimizer"), "not those of its list"),
    "another list": (put(["0.bias"], "optimizer"), "not those of its list"),
    "a list of numbers": (put([1, None], "optimizer"), "not those of its list"),
    "settings that are none": (put([1], "settings"), "is not of a training"),
    "no settings": (drop("settings"), "is not of a training"),
    "no history": (drop("history"), "its history is not"),
    "a history that is a list": (put([HISTORY], "history"), "its history is not"),
    "a history of other keys": (put(HISTORY | {"steps": 3}, "history"), "its history is not"),
    "a history without losses": (drop("history", "losses"), "its history is not"),
    "losses that are words": (put(["0.5"] * 3, "history", "losses"), "its losses are not finite numbers"),
    "a loss of nan": (put([0.5, math.nan], "history", "losses"), "its losses are not finite numbers"),
    "a loss without end": (put([10**400], "history", "losses"), "its losses are not finite numbers"),
    "losses that are one": (put(0.5, "history", "losses"), "its losses are not finite numbers"),
    "no losses": (put([], "history", "losses"), "its history is of 0 steps"),
    "losses too many": (put([0.5] * 7, "history", "losses"), "its history is of 7 steps"),
    "negative seconds": (put(-1, "history", "seconds"), "its seconds are no number"),
    "seconds in words": (put("1", "history", "seconds"), "its seconds are no number"),
    "endless seconds": (put(math.inf, "history", "seconds"), "its seconds are no number"),
    "metrics that are none": (put("miou", "history", "metrics"), "its metrics are not"),
    "metrics of words": (put([{"step": 3, "miou": "high"}], "history", "metrics"), "its metrics are not"),
    "metrics without a step": (put([{"miou": 0.5}], "history", "metrics"), "its metrics are not"),
    "no scaler": (drop("scaler"), "its gradient scaler's numbers"),
    "a scaler that is none": (put(None, "scaler"), "its gradient scaler's numbers"),
    "a scaler of another precision": (put({"scale": 2.0}, "scaler"), "its gradient scaler's numbers"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_checkpoint_is_named_and_nothing_of_it_is_loaded(name, tmp_path):
    change, message = FORGED[name]
    path = tmp_path / "forged.safetensors"
    stopped(path)
    tensors, metadata = checkpoints.read(path)
    change(tensors, metadata)
    checkpoints.save(path, tensors, metadata)
    before, model = path.read_bytes(), net(seed=4)
    weights = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=message) as said:
        train(path, model)
    assert str(path) in str(said.value)
    assert all(torch.equal(weights[key], tensor) for key, tensor in model.state_dict().items())
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["forged.safetensors"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put({}, "scaler"), "numbers are not those of this precision"),
        (put("high", "scaler", "scale"), "numbers are not those"),
        (put(True, "scaler", "_growth_tracker"), "numbers are not those"),
        (put(math.nan, "scaler", "scale"), "scale is out of range"),
        (put(0.0, "scaler", "scale"), "scale is out of range"),
        (put(1e300, "scaler", "scale"), "scale is out of range"),
        (put(-1, "scaler", "_growth_tracker"), "scale is out of range"),
        (put(3.0, "scaler", "growth_factor"), "has other settings"),
    ],
)
def test_a_forged_gradient_scaler_is_refused(change, message, tmp_path):
    path = tmp_path / "forged.safetensors"
    stopped(path, run=cpu("fp16"))
    tensors, metadata = checkpoints.read(path)
    change(tensors, metadata)
    checkpoints.save(path, tensors, metadata)
    with pytest.raises(ValueError, match=message):
        train(path, run=cpu("fp16"))


def test_a_checkpoint_without_its_checksum_is_not_trusted(tmp_path):
    path = tmp_path / "a.safetensors"
    stopped(path)
    tensors, metadata = checkpoints.read(path)
    safetensors.torch.save_file(tensors, path, {"metadata": json.dumps(metadata)})
    with pytest.raises(ValueError, match="its checksum does not match"):
        train(path)


# Beginning again


def test_beginning_again_keeps_the_old_one_until_the_first_new_checkpoint(tmp_path):
    path = tmp_path / "a.safetensors"
    train(path)
    old, seen = path.read_bytes(), []

    def loss(model, batch):
        seen.append(path.read_bytes() == old)
        return cross_entropy(model, batch)

    history = train(path, loss=loss, lr=1e-2, restart=True)  # of other settings, too
    assert seen == [True] * 3 + [False] * 3
    assert history.steps == 6
    assert train(path, lr=1e-2).losses == history.losses


def test_beginning_again_gives_what_beginning_gives(tmp_path):
    path, one, other = tmp_path / "a.safetensors", net(), net()
    stopped(path)
    train(path, one, restart=True)
    train(None, other)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_ctrl_c_soon_after_beginning_again_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.safetensors"
    train(path)
    old = path.read_bytes()

    def loss(model, batch):
        signal.raise_signal(signal.SIGINT)
        return cross_entropy(model, batch)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt, match=r"stopped after step 1 of 6; .*a\.safetensors is as it was"):
            train(path, loss=loss, restart=True)
    finally:
        signal.signal(signal.SIGINT, before)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["a.safetensors"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": math.nan}, "lr: expected a positive number"),
        ({"batch_size": 10**9}, "batch_size: got 1000000000, expected a whole number of at most 65,536"),
        ({"steps": 0}, "steps: got 0"),
        ({"model": torch.nn.Linear(2, 2)}, "model 'Sequential' there, 'Linear' here"),
        ({"metadata": {"recipe": "fcn"}}, "recipe 'unet' there, 'fcn' here"),
        ({"metadata": {"recipe": "unet", "run": object()}}, "metadata: expected what JSON can hold"),
    ],
)
def test_a_slip_when_beginning_again_changes_nothing(changes, message, tmp_path):
    path = tmp_path / "a.safetensors"
    train(path, metadata={"recipe": "unet"})
    old = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        train(path, **{"metadata": {"recipe": "unet"}} | changes, restart=True)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["a.safetensors"]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("content", [b"my thesis", b"", "foreign", "shipped", "torn"])
def test_what_is_no_training_of_ours_is_never_replaced(tmp_path, content, restart):
    path = tmp_path / "thesis"
    if content == "foreign":
        safetensors.torch.save_file({"model.0.weight": torch.ones(1)}, path)
    elif content == "shipped":
        checkpoints.save(path, net().state_dict(), {"model": "Sequential"})
    elif content == "torn":
        path.write_bytes(stopped(path)[:-9])
    else:
        path.write_bytes(content)
    old = path.read_bytes()
    with pytest.raises(ValueError, match=r"thesis is (damaged|not of a training).*delete it"):
        train(path, restart=restart)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["thesis"]


@pytest.mark.parametrize("path", ["", ".", "..", "/", "nowhere/..", os.devnull])
@pytest.mark.parametrize("restart", [False, True])
def test_what_is_no_file_is_refused(path, restart):
    with pytest.raises(ValueError, match="checkpoint: expected the path of a file, got "):
        train(path, restart=restart)


def test_a_finished_one_is_removed_unless_another_has_written_there(tmp_path):
    path = tmp_path / "a.safetensors"
    history = train(path)
    resuming.remove_finished(path, train(tmp_path / "b.safetensors"))
    assert path.exists()
    resuming.remove_finished(path, history)
    assert os.listdir(tmp_path) == ["b.safetensors"]


# One training at a time


def test_two_trainings_to_one_checkpoint_do_not_meet(tmp_path, monkeypatch):
    monkeypatch.setattr(resuming, "_PATIENCE", 0.1)
    path, refusals = tmp_path / "a.safetensors", []

    def second():
        try:
            train(path)
        except ValueError as refusal:
            refusals.append(str(refusal))

    def loss(model, batch):
        if not refusals:
            thread = threading.Thread(target=second)
            thread.start()
            thread.join()
        return cross_entropy(model, batch)

    assert train(path, loss=loss).steps == 6
    assert len(refusals) == 1
    assert f"checkpoint: another training is writing {path}; wait until it ends, stop it, or choose" in refusals[0]
    assert os.listdir(tmp_path) == ["a.safetensors"]
    assert train(path).steps == 6


PROGRAM = """
import sys, time, torch
sys.path.insert(0, {tests!r})
from training_worker import Noisy, cpu, cross_entropy, net
from lecture_utils.training import fit

def loss(model, batch):
    print("step", flush=True)
    time.sleep(0.05)
    return cross_entropy(model, batch)

if __name__ == "__main__":
    torch.set_num_threads(1)
    fit(net(), Noisy(), loss=loss, steps=2000, run=cpu(), batch_size=5, checkpoint={path!r}, workers={workers},
        checkpoint_every=1, quiet=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 on this system")
def test_another_process_is_refused_and_a_killed_one_holds_nothing(tmp_path):
    path = tmp_path / "a.safetensors"
    program = PROGRAM.format(tests=str(Path(__file__).parent), path=str(path), workers=2)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    for _ in range(3):
        assert process.stdout.readline() == "step\n"
    (tmp_path / ".a.safetensors.123.tmp").touch()
    with pytest.raises(ValueError, match="of another training"):  # it has written already, and of other settings
        train(path)
    with pytest.raises(ValueError, match="another training is writing"):
        train(path, restart=True)
    process.kill()
    process.wait()
    process.stdout.close()
    assert train(path, restart=True).steps == 6  # at once, though its loaders may still have been at work
    assert os.listdir(tmp_path) == ["a.safetensors"]


@pytest.mark.parametrize("place", ["file/a.safetensors", f"{'a' * 245}"])
def test_where_nothing_can_be_written_is_told_before_the_first_step(tmp_path, place):
    (tmp_path / "file").touch()

    def loss(model, batch):
        raise AssertionError("a step was taken")

    with pytest.raises(ValueError, match=r"checkpoint: .*: cannot be written .*; choose a file in another folder"):
        train(tmp_path / place, loss=loss)
    assert os.listdir(tmp_path) == ["file"]


def test_a_finished_training_is_read_where_nothing_can_be_written(tmp_path, monkeypatch):
    history = train(tmp_path / "a.safetensors")

    def refuse(path, data):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "prepared", refuse)
    assert train(tmp_path / "a.safetensors").losses == history.losses
    with pytest.raises(ValueError, match=r"checkpoint: .*Permission denied"):
        train(tmp_path / "b.safetensors")


def test_two_processes_under_torchrun_are_refused_together(tmp_path):
    path = tmp_path / "a.safetensors"
    program = tmp_path / "parallel.py"
    program.write_text(PROGRAM.format(tests=str(Path(__file__).parent), path=str(path), workers=0))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(program)]
    with resuming.lock_checkpoint(path):
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode != 0
    assert "another training is writing" in ended.stderr
    assert "step" not in ended.stdout


def test_a_full_disk_names_the_checkpoint_and_keeps_it(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    stopped(path)
    old = path.read_bytes()

    def loss(model, batch):
        monkeypatch.setattr(os, "fsync", full)
        return cross_entropy(model, batch)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with pytest.raises(
        OSError, match=r"a\.safetensors: cannot be written \(the disk is full: [\d,]{5,} bytes are needed"
    ):
        train(path, loss=loss)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["a.safetensors"]
