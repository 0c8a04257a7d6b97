import math
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
import training_worker as worker
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torchmetrics import CatMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex
from training_worker import Noisy, cpu, cross_entropy, net

from lecture_utils import batches, checkpoints, training
from lecture_utils.training import evaluate_batches, fit, schedule


def train(model=None, dataset=None, **changes):
    """Run `fit` on the worker's small problem and return the weights and the history."""
    model, dataset = model or net(), dataset or Noisy()
    arguments = {"loss": cross_entropy, "steps": 12, "run": cpu(), "batch_size": 5, "quiet": True} | changes
    history = fit(model, dataset, **arguments)
    return model.state_dict(), history


def assert_identical(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """These tensors are too small to share, and other tests run beside."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard():
    """A shell starts background jobs deaf to Ctrl-C, and a test runner may be one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class BrokenOff(Exception):
    pass


def break_at(call):
    """Give a loss that raises at its call number `call`."""
    calls = 0

    def loss(model, batch):
        nonlocal calls
        calls += 1
        if calls == call:
            raise BrokenOff
        return cross_entropy(model, batch)

    return loss


# The loop


def test_the_smoke_budget_ends_everything_after_a_few_steps():
    smoke = replace(cpu(), budget="smoke")
    assert train(run=smoke)[1].steps == 3
    assert train(run=smoke, steps=2)[1].steps == 2
    counted = evaluate_batches(net(), Noisy(100), CatMetric(), run=smoke, predict=lambda model, batch: batch[1:])
    assert len(counted) == 8


def test_fit_learns():
    torch.manual_seed(0)
    model = net(plain=True)
    history = fit(model, Noisy(noise=0), loss=cross_entropy, steps=150, run=cpu(), lr=1e-2, quiet=True)
    assert history.steps == len(history.losses) == 150
    assert np.mean(history.losses[-10:]) < 0.3 < np.mean(history.losses[:10])
    assert history.seconds > 0


def test_one_step_is_the_one_of_plain_pytorch():
    """Against AdamW of PyTorch with the same batch, the rate of the schedule and the same clipping."""
    model, twin = net(plain=True), net(plain=True)
    dataset = Noisy(8, noise=0)
    fit(
        model,
        dataset,
        loss=cross_entropy,
        steps=1,
        run=cpu(),
        batch_size=8,
        lr=0.1,
        weight_decay=0.5,
        betas=(0.5, 0.9),
        clip=0.01,
        quiet=True,
    )
    images, labels = zip(*[dataset[i] for i in range(8)], strict=True)
    loss = nn.functional.cross_entropy(twin(torch.stack(images)), torch.stack(labels))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.01)
    rate = 0.1 * schedule(0.5, 0.1)
    for parameter in twin.parameters():  # matrices and kernels decay, biases do not
        decay = 0.5 if parameter.ndim > 1 else 0.0
        torch.optim.AdamW([parameter], lr=rate, betas=(0.5, 0.9), weight_decay=decay).step()
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


@given(st.floats(0, 1), st.floats(0, 0.9))
def test_the_schedule_stays_between_none_and_all_of_the_rate(progress, warmup):
    assert 0 <= schedule(progress, warmup) <= 1


def test_the_schedule_rises_in_a_line_and_falls_as_a_cosine():
    assert [schedule(p, 0.2) for p in (0, 0.05, 0.1, 0.2)] == [0, 0.25, 0.5, 1]
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8)
    for k in range(9):
        assert schedule(0.2 + 0.8 * k / 8, 0.2) == pytest.approx(reference.get_last_lr()[0], abs=1e-7)
        optimizer.step()
        reference.step()


def test_evaluation_sees_an_evaluating_model_and_training_goes_on():
    modes = []

    def evaluate(model):
        modes.append((model.training, torch.is_grad_enabled()))
        return {"half": torch.tensor(0.5)}

    def loss(model, batch):
        modes.append(("step", model.training))
        return cross_entropy(model, batch)

    _, history = train(loss=loss, steps=5, evaluate=evaluate, evaluate_every=2)
    assert history.metrics == [{"step": step, "half": 0.5} for step in (2, 4, 5)]
    step, evaluated = ("step", True), (False, False)
    assert modes == [step, step, evaluated, step, step, evaluated, step, evaluated]


def test_without_an_interval_evaluation_comes_at_the_end():
    _, history = train(steps=5, evaluate=lambda model: {"a": 1})
    assert history.metrics == [{"step": 5, "a": 1.0}]


def test_the_session_is_left_as_found():
    model = net()
    model[1].eval()  # one part in another mode than the rest
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(BrokenOff):
        train(model, loss=break_at(3))
    train(model)
    evaluate_batches(model, Noisy(), MulticlassAccuracy(2), run=cpu())
    assert random.getstate() == before[0]
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])
    assert signal.getsignal(signal.SIGINT) is handler
    assert model.training
    assert not model[1].training
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains_and_resumes(precision, tmp_path):
    seen = []

    def loss(model, batch):
        seen.append(model[:1](batch[0]).dtype)
        return cross_entropy(model, batch)

    once, _ = train(loss=loss, run=cpu(precision))
    assert set(seen) == {{"bf16": torch.bfloat16, "fp16": torch.float16}[precision]}
    path = tmp_path / "half.safetensors"
    with pytest.raises(BrokenOff):
        train(run=cpu(precision), checkpoint=path, checkpoint_every=3, loss=break_at(8))
    resumed, _ = train(run=cpu(precision), checkpoint=path, checkpoint_every=3)
    assert_identical(once, resumed)
    assert all(tensor.dtype != torch.float16 for tensor in resumed.values())


def test_fp16_lowers_its_scale_instead_of_stopping_and_the_scale_is_kept(tmp_path):
    path = tmp_path / "scaled.safetensors"

    def steep(model, batch):  # times the first scale, 2¹⁶, the gradient overflows
        return cross_entropy(model, batch) * 2.0**115

    _, history = train(run=cpu("fp16"), loss=steep, steps=4, checkpoint=path)
    assert all(math.isfinite(loss) for loss in history.losses)
    _, state = checkpoints.read(path)
    assert state["scaler"]["scale"] < 2.0**16
    with pytest.raises(ValueError, match="gradient of norm inf at step 1 of 4"):
        train(loss=lambda model, batch: cross_entropy(model, batch) * 1e38, steps=4)


def test_max_seconds_stops_early_with_the_schedule_at_its_end(monkeypatch):
    rates = []

    def watch(progress, warmup):
        rates.append(schedule(progress, warmup))
        return rates[-1]

    monkeypatch.setattr(training, "schedule", watch)
    started = time.monotonic()
    _, history = train(steps=10**6, max_seconds=0.8)
    assert 0.8 <= history.seconds <= time.monotonic() - started < 10
    assert 3 < history.steps < 10**6
    assert rates[-1] < 0.1 < max(rates)


def test_progress_shows_loss_and_metric(capfd):
    train(quiet=False, evaluate=lambda model: {"miou": 0.25})
    shown = capfd.readouterr().err
    assert "12/12" in shown
    assert "loss=0." in shown
    assert "miou=0.250" in shown
    train(quiet=True)
    assert capfd.readouterr().err == ""


def test_it_runs_in_another_thread():
    """Where no signal handler can be set."""
    ended = []
    thread = threading.Thread(target=lambda: ended.append(train()))
    thread.start()
    thread.join()
    assert_identical(ended[0][0], train()[0])


# Batches


@given(st.integers(1, 30), st.integers(1, 40), st.integers(1, 3), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_batches_follow_from_the_step(items, batch_size, processes, begin, seed):
    def places(steps, size=batch_size, rank=0, processes=1):
        return list(batches.shuffled_indices(items, size, steps, seed=seed, rank=rank, processes=processes))

    whole = places(range(15))
    assert places(range(begin, 15)) == whole[begin:]
    assert all(len(batch) == batch_size for batch in whole)
    stream = [index for batch in whole for _, index in batch]
    for first in range(0, len(stream) - items + 1, items):  # each pass has each item once
        assert sorted(stream[first : first + items]) == list(range(items))
    joined = places(range(15), size=batch_size * processes)
    parts = [places(range(15), rank=rank, processes=processes) for rank in range(processes)]
    assert [list(chain(*step)) for step in zip(*parts, strict=True)] == joined


@given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 4))
def test_ordered_places_count_each_item_once(items, batch_size, processes):
    parts = [batches.ordered_indices(items, batch_size, rank=r, processes=processes) for r in range(processes)]
    assert sorted(index for part in parts for batch in part for _, index in batch) == list(range(items))


def test_the_seed_changes_order_and_noise():
    one, other = (train(run=cpu(seed=seed), steps=3)[1].losses for seed in (1, 2))
    assert one != other


def test_a_batch_may_be_larger_than_the_data_set():
    sizes = []

    def loss(model, batch):
        sizes.append(len(batch[0]))
        return cross_entropy(model, batch)

    train(dataset=Noisy(3), batch_size=8, loss=loss, steps=2)
    assert sizes == [8, 8]


def test_what_a_checkpoint_is_about_may_hold_what_json_turns_into_lists(tmp_path):
    for _ in range(2):  # the second time it is found to be the same
        train(checkpoint=tmp_path / "a.safetensors", metadata={"size": (3, 4)})


def test_any_collate_and_any_batch():
    """Lists of unequal items, as detectors take them."""
    items = [(torch.ones(2 + index % 3), {"value": torch.tensor(float(index))}) for index in range(6)]
    model = nn.Linear(1, 1)

    def loss(model, batch):
        return sum((model(x.mean()[None]) - target["value"]).square().sum() for x, target in batch)

    assert fit(model, items, loss=loss, steps=3, run=cpu(), collate=list, quiet=True).steps == 3


# Resuming


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_off_training_ends_as_an_undisturbed_one(workers, tmp_path):
    once, history = train()
    path = tmp_path / "part.safetensors"
    for call in (5, 3, 4):
        with pytest.raises(BrokenOff):
            train(checkpoint=path, checkpoint_every=2, loss=break_at(call), workers=workers)
    resumed, its_history = train(checkpoint=path, checkpoint_every=2, workers=workers)
    assert_identical(once, resumed)
    assert its_history.losses == history.losses


def test_parameters_at_the_root_of_a_model_are_resumed_too(tmp_path):
    class Bare(nn.Module):  # as the class token of a ViT
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(torch.ones(3))

        def forward(self, x):
            return x * self.token

    def loss(model, batch):
        return (model(batch[0].mean((1, 2, 3), keepdim=True).expand(-1, 3, 1, 1)[..., 0, 0]) ** 2).mean()

    undisturbed, _ = train(Bare(), loss=loss)
    calls = iter(range(100))

    def breaking(model, batch):
        if next(calls) == 7:
            raise BrokenOff
        return loss(model, batch)

    settings = {"checkpoint": tmp_path / "bare.safetensors", "checkpoint_every": 2}
    with pytest.raises(BrokenOff):
        train(Bare(), loss=breaking, **settings)
    assert_identical(train(Bare(), loss=loss, **settings)[0], undisturbed)


def test_a_finished_training_returns_at_once(tmp_path):
    path = tmp_path / "done.safetensors"
    once, history = train(checkpoint=path, evaluate=lambda model: {"a": 2.0})
    again, its_history = train(net(seed=9), checkpoint=path, loss=break_at(1), evaluate=lambda model: {"a": 3.0})
    assert_identical(once, again)
    assert its_history == history


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 13}, "steps 12 there, 13 here"),
        ({"batch_size": 4}, "batch_size 5 there, 4 here"),
        ({"lr": 1e-2}, "lr 0.003 there, 0.01 here"),
        ({"run": cpu(seed=4)}, "seed 3 there, 4 here"),
        ({"run": cpu("bf16")}, "precision 'fp32' there, 'bf16' here"),
        ({"dataset": Noisy(24)}, "items 23 there, 24 here"),
        ({"model": nn.Linear(2, 2)}, "model 'Sequential' there, 'Linear' here"),
        ({"model": net(plain=True)}, "does not fit this Sequential: 4.weight is missing"),
        (
            {"model": nn.Sequential(nn.Linear(2, 2))},
            "does not fit this Sequential: .* is unknown to the model; .* and . more",
        ),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(changes, message, tmp_path):
    path = tmp_path / "other.safetensors"
    train(checkpoint=path)
    before = path.read_bytes()
    model = changes.get("model") or net(seed=5)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        train(**{"model": model, "checkpoint": path} | changes)
    assert_identical(weights, model.state_dict())
    assert path.read_bytes() == before


def test_a_damaged_checkpoint_is_refused(tmp_path):
    path = tmp_path / "damaged.safetensors"
    train(checkpoint=path)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match=r"damaged\.safetensors is damaged.*delete it"):
        train(checkpoint=path)
    checkpoints.save(path, {"x": torch.ones(1)}, {})
    with pytest.raises(ValueError, match="is not of a training"):
        train(checkpoint=path)


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    mine, another = tmp_path / ".a.safetensors.123.tmp", tmp_path / ".b.safetensors.123.tmp"
    for leftover in (mine, another):
        leftover.write_bytes(b"half")
    train(checkpoint=tmp_path / "a.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == [another.name, "a.safetensors"]


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(tmp_path):
    path = tmp_path / "nan.safetensors"
    weights = []

    def loss(model, batch):
        weights.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return cross_entropy(model, batch) * (math.nan if len(weights) == 8 else 1)

    model = net(plain=True)
    with pytest.raises(ValueError, match=r"loss of nan.* at step 8 of 12; .*nan\.safetensors holds the last"):
        train(model, loss=loss, checkpoint=path, checkpoint_every=3)
    assert_identical(model.state_dict(), weights[7])  # the bad step was not taken
    saved, state = checkpoints.read(path)
    assert len(state["history"]["losses"]) == 6
    for name, tensor in weights[6].items():
        assert torch.equal(saved[f"model.{name}"], tensor)


# Bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "unet"}, "model: expected a torch.nn.Module, got str"),
        ({"model": nn.ReLU()}, "model: expected parameters to train, got a ReLU"),
        ({"dataset": iter([1])}, "dataset: expected a data set with a length"),
        (
            {"dataset": torch.utils.data.TensorDataset(torch.ones(0, 2))},
            "at least one item, got an empty TensorDataset",
        ),
        ({"steps": 0}, "steps: got 0, expected a whole number of at least 1"),
        ({"steps": 2.5}, "steps: got 2.5"),
        ({"steps": True}, "steps: got True"),
        ({"steps": 10**12}, "steps: got 1000000000000, expected a whole number of at most 1,000,000,000"),
        ({"steps": 10**4000}, "steps: got a number of more than 20 digits, expected"),
        ({"batch_size": 10**9}, "batch_size: got 1000000000, expected a whole number of at most 65,536"),
        ({"workers": 10**6}, "workers: got 1000000, expected a whole number of at most"),
        ({"lr": math.inf}, "lr: .* got inf"),
        ({"lr": 10**400}, "lr: .* got a whole number too large"),
        ({"metadata": {"data": object()}}, "metadata: expected what JSON can hold"),
        ({"metadata": ["data"]}, "metadata: expected names and values"),
        ({"batch_size": -1}, "batch_size: got -1"),
        ({"checkpoint_every": 0}, "checkpoint_every: got 0"),
        ({"evaluate_every": 0}, "evaluate_every: got 0"),
        ({"workers": -1}, "workers: got -1, expected a whole number of at least 0"),
        ({"lr": "fast"}, "lr: expected a positive number, got 'fast'"),
        ({"lr": math.nan}, "lr: .* got nan"),
        ({"weight_decay": -1}, "weight_decay: .* got -1"),
        ({"betas": 0.9}, "betas: expected two numbers from 0 to below 1, got 0.9"),
        ({"betas": (0.9, 1.0)}, "betas: .* got 1.0"),
        ({"warmup": 1}, "warmup: .* got 1"),
        ({"clip": 0}, "clip: .* got 0"),
        ({"max_seconds": 0}, "max_seconds: .* got 0"),
        ({"loss": None}, "loss: expected a function, got None"),
        ({"evaluate": 3}, "evaluate: expected a function, got 3"),
        ({"run": "cpu"}, r"run: expected what runtime.setup\(\) returns, got 'cpu'"),
        ({"checkpoint": 5}, "checkpoint: expected the path of a file, got 5"),
        ({"checkpoint": os.curdir}, "checkpoint: expected the path of a file"),
        ({"loss": lambda model, batch: 1.0}, "scalar tensor with a gradient, got float"),
        ({"loss": lambda model, batch: model(batch[0])}, r"got a tensor of shape \(5, 2\)"),
        ({"loss": lambda model, batch: torch.ones(())}, r"got a tensor of shape \(\)"),
        ({"evaluate": lambda model: 0.5}, "evaluate: expected a function that returns names and numbers, got 0.5"),
        ({"evaluate": lambda model: {"a": torch.ones(2)}}, "returns names and numbers"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    dataset = changes.pop("dataset", Noisy())
    model = changes.pop("model", net())
    arguments = {"loss": cross_entropy, "steps": 2, "run": cpu(), "batch_size": 5, "quiet": True} | changes
    with pytest.raises(ValueError, match=message):
        fit(model, dataset, **arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused():
    run = cpu()
    gpu = type(run)("laptop", "cuda", "bf16", "full", 0, "")
    with pytest.raises(ValueError, match='expected a device that is here, got "cuda"'):
        train(run=gpu)
    train(run=run)  # and the CPU still serves


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_and_then_the_cpu(precision, tmp_path):
    path = tmp_path / "gpu.safetensors"
    run = type(cpu())("laptop", "cuda", precision, "full", 0, "")
    with pytest.raises(BrokenOff):
        train(run=run, checkpoint=path, checkpoint_every=3, loss=break_at(8))
    weights, history = train(run=run, checkpoint=path)
    assert history.steps == 12
    assert all(tensor.device.type == "cuda" for tensor in weights.values())
    assert all(tensor.device.type == "cpu" for tensor in train()[0].values())


# Evaluation


@pytest.mark.parametrize("workers", [0, 1])
def test_evaluation_counts_every_item_once(workers):
    model, dataset = net(), Noisy(23, noise=0)
    metric = MetricCollection({"iou": MulticlassJaccardIndex(2), "accuracy": MulticlassAccuracy(2, average="micro")})
    metric.update(torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long))  # from before: not to be counted
    found = evaluate_batches(model, dataset, metric, run=cpu(), batch_size=4, workers=workers)
    assert model.training
    with torch.no_grad():
        images, labels = torch.stack([i for i, _ in dataset]), torch.stack([t for _, t in dataset])
        predicted = model.eval()(images).argmax(1)
    assert found["accuracy"] == pytest.approx((predicted == labels).float().mean().item())
    both = [((predicted == c) & (labels == c)).sum() / ((predicted == c) | (labels == c)).sum() for c in (0, 1)]
    assert found["iou"].item() == pytest.approx(torch.stack(both).mean().item())


def test_evaluation_takes_any_prediction_and_the_precision_of_the_run():
    seen = []

    def predict(model, batch):
        seen.append((model[:1](batch[0]).dtype, torch.is_grad_enabled(), model.training))
        return model(batch[0]).argmax(1), 1 - batch[1]

    metric = MulticlassAccuracy(2, average="micro")
    right = evaluate_batches(net(), Noisy(noise=0), metric, run=cpu("bf16"))
    wrong = evaluate_batches(net(), Noisy(noise=0), metric, run=cpu("bf16"), predict=predict)
    assert right + wrong == pytest.approx(1)
    assert set(seen) == {(torch.bfloat16, False, False)}


def test_evaluation_names_bad_arguments():
    metric = MulticlassAccuracy(2)
    with pytest.raises(ValueError, match="at least one item"):
        evaluate_batches(net(), [], metric, run=cpu())
    for size in (0, 10**9):
        with pytest.raises(ValueError, match=f"batch_size: got {size}"):
            evaluate_batches(net(), Noisy(), metric, run=cpu(), batch_size=size)
    with pytest.raises(ValueError, match="workers: got 100000"):
        evaluate_batches(net(), Noisy(), metric, run=cpu(), workers=100_000)
    with pytest.raises(ValueError, match="predict: expected a function"):
        evaluate_batches(net(), Noisy(), metric, run=cpu(), predict=3)
    with pytest.raises(ValueError, match="metric: expected"):
        evaluate_batches(net(), Noisy(), "miou", run=cpu())


# Processes of their own


@pytest.fixture(scope="module")
def launch():
    """Start the worker's training in a process that can be killed; PyTorch is loaded once for all of them."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    context.set_forkserver_preload(["lecture_utils.training", "torch._dynamo", "torchmetrics.classification"])
    started = []

    def start(folder, **options):
        folder.mkdir(exist_ok=True)
        started.append(context.Process(target=worker.train_and_log, args=(folder,), kwargs=options))
        started[-1].start()
        return started[-1]

    yield start
    for process in started:
        process.kill()


def wait_for(happened, process, seconds=60):
    until = time.monotonic() + seconds
    while not happened():
        assert process.is_alive(), f"the training ended early, with {process.exitcode}"
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.002)


def size(path):
    return path.stat().st_size if path.exists() else 0


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 on this system")
def test_ten_kills_change_nothing(launch, tmp_path):
    dice = random.Random(0)
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    calm = launch(undisturbed)
    checkpoint, log, stalled = (killed / name for name in ("unfinished.safetensors", "log", "stalled"))
    steps_kept = []
    for number in range(10):
        in_the_write = number % 2 == 1
        process = launch(killed, stall_in_write=2 if in_the_write else 0)
        if in_the_write:
            wait_for(stalled.exists, process)
        else:
            goal = size(log) + dice.randint(2, 8)
            wait_for(lambda goal=goal: size(log) >= goal, process)
            time.sleep(dice.random() * 0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        if in_the_write:
            stalled.unlink()
            (half,) = killed.glob(".*.tmp")
            with pytest.raises(ValueError, match="damaged"):
                checkpoints.read(half)
        if checkpoint.exists():  # and it is always whole
            steps_kept.append(len(checkpoints.read(checkpoint)[1]["history"]["losses"]))
    assert steps_kept == sorted(steps_kept)
    assert 4 * 5 <= steps_kept[-1] < worker.STEPS
    last = launch(killed)
    last.join()
    calm.join()
    assert (last.exitcode, calm.exitcode) == (0, 0)
    assert not list(killed.glob(".*.tmp"))
    expected, found = checkpoints.read(undisturbed / "result"), checkpoints.read(killed / "result")
    assert_identical(expected[0], found[0])
    assert expected[1] == found[1]
    assert size(undisturbed / "log") == worker.STEPS < size(log)  # steps were lost, and done again


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be sent Ctrl-C on this system")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_and_leaves_a_checkpoint(number, launch, tmp_path):
    folder = tmp_path / "interrupted"
    process = launch(folder)
    wait_for(lambda: size(folder / "log") >= 6, process)
    os.kill(process.pid, number)
    process.join()
    assert process.exitcode == 130
    _, state = checkpoints.read(folder / "unfinished.safetensors")
    done = len(state["history"]["losses"])
    assert 6 <= done == size(folder / "log") < worker.STEPS  # no step was lost
    assert f"stopped after step {done} of {worker.STEPS}; the same call" in (folder / "interrupted").read_text()


def test_ctrl_c_without_a_checkpoint_leaves_the_model_as_trained():
    def loss(model, batch):
        signal.raise_signal(signal.SIGINT)
        return cross_entropy(model, batch)

    model = net()
    with pytest.raises(KeyboardInterrupt, match=r"stopped after step 1 of 12$"):
        train(model, loss=loss)
    assert not torch.equal(model[0].weight, net()[0].weight)
    assert torch.isfinite(model[0].weight).all()


def test_a_second_ctrl_c_acts_at_once():
    done = []

    def loss(model, batch):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        done.append(1)

    with pytest.raises(KeyboardInterrupt):
        train(loss=loss)
    assert not done


def test_two_processes_under_torchrun(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    ended = subprocess.run(
        [*command, worker.__file__, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    (first, facts), (second, others) = (checkpoints.read(tmp_path / f"rank{rank}") for rank in (0, 1))
    assert_identical(first, second)
    assert facts["losses"] == others["losses"]
    assert (facts["wrote"], others["wrote"]) == (2 * 3, 0)  # after 5, 10 and 12 steps, by the first process only
    assert len({*facts["drawn"], *others["drawn"]}) == 2 * 12  # dropout differs by step and by process
    assert ended.stderr.count(" 0/12") == 1, ended.stderr  # one bar: a finished one may be drawn twice

    model = net(plain=True)
    history = fit(model, Noisy(23, noise=0), loss=cross_entropy, steps=12, run=cpu(), batch_size=8, quiet=True)
    np.testing.assert_allclose(history.losses, facts["losses"], rtol=1e-4)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(first[f"plain.{name}"], tensor, rtol=1e-3, atol=1e-5)

    metric = MulticlassAccuracy(2, average="micro")
    alone = evaluate_batches(net(), Noisy(23, noise=0), metric, run=cpu(), batch_size=5)
    assert facts["accuracy"] == others["accuracy"] == pytest.approx(alone.item())
