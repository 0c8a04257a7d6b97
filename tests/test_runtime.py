"""The choice of device, precision and profile for every kind of machine, and the folders, all without a GPU."""

import importlib.metadata
import random
import re
import warnings
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from lecture_utils import runtime
from lecture_utils.runtime import Machine, choose

LAPTOP_LINE = "This computer, CPU (no GPU to use): the quick profile, small images, short training."


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    for name in ("DEVICE", "PROFILE", "PRECISION", "BUDGET", "DATA", "KAGGLE_INPUT"):
        monkeypatch.delenv(f"LECTURE_{name}", raising=False)
    for name in ("KAGGLE_KERNEL_RUN_TYPE", "COLAB_RELEASE_TAG"):
        monkeypatch.delenv(name, raising=False)
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    yield
    random.setstate(state[0])
    np.random.set_state(state[1])  # noqa: NPY002
    torch.set_rng_state(state[2])


@pytest.mark.slide("13")
@pytest.mark.parametrize(
    ("machine", "device", "precision", "profile", "says"),
    [
        pytest.param(Machine(), "cpu", "fp32", "quick", ["no GPU"], id="laptop"),
        pytest.param(Machine(cpu_bf16=True), "cpu", "bf16", "quick", ["no GPU"], id="laptop with bf16"),
        pytest.param(Machine(mps=True), "mps", "fp32", "full", ["Apple GPU", "Mac"], id="mac"),
        pytest.param(
            Machine("kaggle", gpu="Tesla T4", capability=(7, 5)), "cuda", "fp16", "full", ["Tesla T4", "fp16"], id="T4"
        ),
        pytest.param(
            Machine("kaggle", gpu="Tesla P100", capability=(6, 0), gpu_works=False),
            *("cpu", "fp32", "quick", ["Tesla P100", "capability 6.0", "7.5", "Settings → Accelerator"]),
            id="P100",
        ),
        pytest.param(
            Machine("laptop", gpu="V100", capability=(7, 0)), "cpu", "fp32", "quick", ["V100", "7.0"], id="V100"
        ),
        pytest.param(Machine("colab", gpu="A100", capability=(8, 0)), "cuda", "bf16", "full", ["A100"], id="A100"),
        pytest.param(Machine("colab", gpu="L4", capability=(8, 9)), "cuda", "bf16", "full", ["L4", "bf16"], id="L4"),
        pytest.param(
            Machine("laptop", gpu="RTX", capability=(12, 0), gpu_works=False, cpu_bf16=True),
            *("cpu", "bf16", "quick", ["RTX failed at its first operation"]),
            id="a GPU that fails",
        ),
        pytest.param(
            Machine("kaggle"), "cpu", "fp32", "quick", ["phone number", "Settings → Accelerator"], id="Kaggle, CPU"
        ),
        pytest.param(Machine("colab"), "cpu", "fp32", "quick", ["Runtime → Change runtime type"], id="Colab, CPU"),
    ],
)
def test_each_machine_gets_its_choice(machine, device, precision, profile, says):
    run = choose(machine)
    assert (run.platform, run.device, run.precision, run.profile) == (machine.platform, device, precision, profile)
    assert all(words in run.reason for words in says), run.reason
    assert "\n" not in run.reason


def test_the_line_is_the_same_on_every_laptop_without_a_gpu():
    assert choose(Machine()).reason == choose(Machine(cpu_bf16=True)).reason == LAPTOP_LINE
    assert not re.search(r"\d", LAPTOP_LINE)


def test_the_smoke_budget_is_asked_for_by_the_environment_and_said(monkeypatch, capsys):
    assert runtime.setup(device="cpu", quiet=True).budget == "whole"
    monkeypatch.setenv("LECTURE_BUDGET", "smoke")
    assert runtime.setup(device="cpu").budget == "smoke"
    assert "no result means anything" in capsys.readouterr().out
    monkeypatch.setenv("LECTURE_BUDGET", "small")
    with pytest.raises(ValueError, match="LECTURE_BUDGET: expected one of whole, smoke, got 'small'"):
        runtime.setup(quiet=True)


def test_nothing_is_to_be_clicked_where_a_gpu_runs():
    for platform in ("kaggle", "colab"):
        assert "→" not in choose(Machine(platform, gpu="Tesla T4", capability=(7, 5))).reason


def test_what_is_asked_for_is_taken_where_it_can_run():
    t4 = Machine("colab", gpu="Tesla T4", capability=(7, 5))
    on_cpu = choose(t4, device="cpu", profile="full")
    assert (on_cpu.device, on_cpu.precision, on_cpu.profile) == ("cpu", "fp32", "full")
    assert "CPU was asked for" in on_cpu.reason
    assert "→" not in on_cpu.reason
    assert choose(t4, precision="fp32").precision == "fp32"
    assert choose(Machine(cpu_bf16=True), precision="fp32").reason == LAPTOP_LINE


@pytest.mark.parametrize(
    ("machine", "asked", "message"),
    [
        (Machine(), {"device": "cuda"}, r'device="cuda" cannot run: no GPU was found here; "cpu" can'),
        (Machine(gpu="P100", capability=(6, 0)), {"device": "cuda"}, r"P100 has compute capability 6\.0"),
        (Machine(gpu="L4", capability=(8, 9)), {"device": "mps"}, r'no Apple GPU was found here; "cuda" can'),
        (Machine(), {"precision": "bf16"}, r'"bf16" is not native to this CPU; expected fp32'),
        (Machine(gpu="T4", capability=(7, 5)), {"precision": "bf16"}, r"expected fp16 or fp32"),
        (Machine(), {"seed": -1}, r"seed: expected an integer .* got -1"),
        (Machine(), {"seed": 2**32}, r"seed: expected an integer"),
        (Machine(), {"seed": 0.5}, r"seed: expected an integer .* got 0\.5"),
    ],
)
def test_what_cannot_run_is_refused(machine, asked, message):
    with pytest.raises(ValueError, match=message):
        choose(machine, **asked)


@pytest.mark.parametrize("name", ["device", "profile"])
def test_setup_names_the_argument_or_variable_that_is_wrong(name, monkeypatch):
    with pytest.raises(ValueError, match=f"^{name}: expected one of .*, got 'fast'"):
        runtime.setup(**{name: "fast"})
    monkeypatch.setenv(f"LECTURE_{name.upper()}", "fast")
    with pytest.raises(ValueError, match=f"^LECTURE_{name.upper()}: expected one of .*, got 'fast'"):
        runtime.setup()


def test_setup_prints_its_line_once_and_quiet_prints_none(monkeypatch, capsys):
    monkeypatch.setattr(runtime, "detect", Machine)
    run = runtime.setup()
    assert capsys.readouterr().out == run.reason + "\n" == LAPTOP_LINE + "\n"
    runtime.setup(quiet=True)
    assert capsys.readouterr().out == ""


def test_arguments_come_before_the_environment_and_that_before_the_machine(monkeypatch):
    monkeypatch.setattr(runtime, "detect", lambda: Machine(gpu="L4", capability=(8, 9)))
    assert runtime.setup(quiet=True).profile == "full"
    monkeypatch.setenv("LECTURE_PROFILE", "quick")
    monkeypatch.setenv("LECTURE_PRECISION", "fp32")
    run = runtime.setup(quiet=True)
    assert (run.device, run.precision, run.profile) == ("cuda", "fp32", "quick")
    assert runtime.setup(profile="full", quiet=True).profile == "full"
    monkeypatch.setenv("LECTURE_DEVICE", "cpu")
    assert runtime.setup(device="cuda", quiet=True).device == "cuda"
    hidden = runtime.setup()
    assert (hidden.device, hidden.reason) == ("cpu", LAPTOP_LINE)


def test_the_same_seed_gives_the_same_numbers_from_every_generator():
    def draw(seed):
        runtime.setup(seed, quiet=True)
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    first, again, other = draw(7), draw(np.int64(7)), draw(8)
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_a_runtime_does_not_change():
    with pytest.raises(FrozenInstanceError):
        choose(Machine()).device = "cuda"


def test_places_are_told_by_their_variables_and_kaggle_also_carries_those_of_colab(monkeypatch):
    assert runtime.platform() == "laptop"
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab")
    assert runtime.platform() == "colab"
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    assert runtime.platform() == "kaggle"


def _cuda_of(monkeypatch, *, name="Tesla T4", capability=(7, 5), first_operation=lambda: None):
    real_ones = torch.ones

    def get_name(_):
        warnings.warn("an old driver", stacklevel=1)
        return name

    def ones(*size, device=None):
        if device == "cuda":
            first_operation()
        return real_ones(*size)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", get_name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch, "ones", ones)


def _fail():
    raise RuntimeError("no kernel image is available for execution on the device")


def test_look_reads_the_gpu_and_tries_it(monkeypatch, recwarn):
    _cuda_of(monkeypatch)
    machine = runtime.detect()
    assert (machine.gpu, machine.capability, machine.gpu_works) == ("Tesla T4", (7, 5), True)
    _cuda_of(monkeypatch, first_operation=_fail)
    assert runtime.detect().gpu_works is False
    assert not recwarn


def test_look_computes_nothing_on_a_gpu_too_old_for_it(monkeypatch):
    tried = []
    _cuda_of(monkeypatch, name="Tesla P100", capability=(6, 0), first_operation=lambda: tried.append(1))
    machine = runtime.detect()
    assert (machine.gpu, tried) == ("Tesla P100", [])
    assert choose(machine).device == "cpu"


def test_look_survives_a_driver_that_fails(monkeypatch):
    _cuda_of(monkeypatch)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: _fail())
    assert runtime.detect().gpu is None


def test_look_sees_a_mac_and_bf16_in_hardware(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    for able in ({"amx_bf16": True}, {"avx512_bf16": True}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able, raising=False)
        assert runtime.detect() == Machine(mps=True, cpu_bf16=True)
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert runtime.detect() == Machine(mps=True, cpu_bf16=False)


def test_data_root_prefers_the_variable_then_the_checkout(monkeypatch, tmp_path):
    monkeypatch.setenv("LECTURE_DATA", str(tmp_path / "mine"))
    assert runtime.data_root() == tmp_path / "mine"
    monkeypatch.delenv("LECTURE_DATA")
    monkeypatch.setattr(runtime, "checkout", lambda: tmp_path)
    assert runtime.data_root() == tmp_path / "data"
    monkeypatch.setattr(runtime, "checkout", lambda: None)
    monkeypatch.chdir(tmp_path)
    assert runtime.data_root() == tmp_path / "data"
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("variable", ["LECTURE_DATA", "LECTURE_KAGGLE_INPUT"])
def test_a_variable_that_can_name_no_folder_is_told(variable, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    use = {"LECTURE_DATA": runtime.data_root, "LECTURE_KAGGLE_INPUT": lambda: runtime.kaggle_folder("flickr8k")}
    for value, message in {
        "~nobody-of-this-name/data": 'got "~nobody-of-this-name/data", and no such user has a home here',
        str(tmp_path / "file"): "expected a folder, got .*file is a file",
        str(tmp_path / "file" / "below"): "expected a folder, got .*below, and .*file is a file",
    }.items():
        monkeypatch.setenv(variable, value)
        with pytest.raises(ValueError, match=f"{variable}: {message}"):
            use[variable]()


def test_an_empty_variable_is_as_one_that_is_not_set(monkeypatch):
    for variable in ("LECTURE_DATA", "LECTURE_KAGGLE_INPUT"):
        monkeypatch.delenv(variable, raising=False)
    usual = runtime.data_root()
    for value in ("", "  "):
        monkeypatch.setenv("LECTURE_DATA", value)
        monkeypatch.setenv("LECTURE_KAGGLE_INPUT", value)
        assert runtime.data_root() == usual
        assert runtime.kaggle_folder("no-such-data-set") is None


def test_the_home_of_a_user_may_be_named(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("LECTURE_DATA", "~/data")
    assert runtime.data_root() == tmp_path / "data"


def test_kaggles_inputs_are_missed_where_they_were_named(monkeypatch, tmp_path):
    monkeypatch.setenv("LECTURE_KAGGLE_INPUT", str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"LECTURE_KAGGLE_INPUT: expected a folder, got .*nowhere, which is not there"):
        runtime.kaggle_folder("flickr8k")


@pytest.mark.parametrize("cloned", [False, True], ids=["wheel", "git clone below /kaggle/working"])
def test_on_kaggle_generated_data_stays_out_of_what_kaggle_saves(cloned, monkeypatch, tmp_path):
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    monkeypatch.setattr(runtime, "KAGGLE", tmp_path / "kaggle")
    monkeypatch.setattr(runtime, "checkout", lambda: tmp_path / "kaggle/working/course" if cloned else None)
    monkeypatch.setattr(runtime.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    assert runtime.data_root() == tmp_path / "tmp/lecture-data"  # no /kaggle, or none that can be written to
    (tmp_path / "kaggle/temp").mkdir(parents=True)
    assert runtime.data_root() == tmp_path / "kaggle/temp/lecture-data"
    (tmp_path / "kaggle/temp").rmdir()  # Kaggle lets it be made
    assert runtime.data_root() == tmp_path / "kaggle/temp/lecture-data"
    monkeypatch.setattr(runtime.os, "access", lambda path, mode: False)
    assert runtime.data_root() == tmp_path / "tmp/lecture-data"
    monkeypatch.setenv("LECTURE_DATA", str(tmp_path / "mine"))
    assert runtime.data_root() == tmp_path / "mine"


@pytest.mark.parametrize(
    ("machine", "asked", "slow"),
    [
        (Machine(), {"profile": "full"}, True),
        (Machine("kaggle"), {"profile": "full"}, True),
        (Machine("colab", gpu="T4", capability=(7, 5)), {"profile": "full", "device": "cpu"}, True),
        (Machine("colab", gpu="T4", capability=(7, 5)), {}, False),
        (Machine(mps=True), {}, False),
        (Machine(), {}, False),
    ],
)
def test_the_full_profile_on_a_cpu_says_how_long_it_takes(machine, asked, slow):
    assert ("more than an hour" in choose(machine, **asked).reason) == slow


@pytest.mark.parametrize("variable", ["KAGGLE_KERNEL_RUN_TYPE", "COLAB_RELEASE_TAG"])
def test_on_a_platform_it_says_what_is_too_old_or_missing_there(variable, monkeypatch, capsys):
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.9.0" if name == "torch" else version(name))
    runtime.setup()
    assert "2.9.0" not in capsys.readouterr().out  # on a laptop pip sees to it
    monkeypatch.setenv(variable, "x")
    runtime.setup()
    _, second = capsys.readouterr().out.splitlines()
    assert second.startswith("torch 2.9.0 is too old (>=2.10 is needed): take the newest")
    assert "→" in second
    assert "pip" not in second
    runtime.setup(quiet=True)
    assert capsys.readouterr().out == ""


def _package_in(monkeypatch, folder):
    (folder / "lecture_utils").mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(runtime, "__file__", str(folder / "lecture_utils" / "runtime.py"))


def test_shipped_files_are_found_in_a_checkout_and_in_a_wheel(monkeypatch, tmp_path):
    _package_in(monkeypatch, tmp_path)
    inside = tmp_path / "lecture_utils" / "_data" / "checkpoints" / "unet.safetensors"
    inside.parent.mkdir(parents=True)
    inside.touch()
    assert runtime.checkout() is None
    assert runtime.resource_path("checkpoints/unet.safetensors") == inside
    assert runtime.resource_path("checkpoints") == inside.parent

    outside = tmp_path / "data" / "checkpoints" / "unet.safetensors"
    outside.parent.mkdir(parents=True)
    outside.touch()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "handouts").mkdir()
    assert runtime.checkout() == tmp_path
    assert runtime.resource_path("checkpoints/unet.safetensors") == outside


def test_a_missing_shipped_file_is_named_with_its_mend(monkeypatch, tmp_path):
    _package_in(monkeypatch, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"data/checkpoints/unet\.safetensors is missing; .*make checkpoints"):
        runtime.resource_path("checkpoints/unet.safetensors")
    with pytest.raises(FileNotFoundError, match=r"data/sample is missing; install the course again"):
        runtime.resource_path("sample")


@pytest.mark.parametrize("name", ["", "../README.md", "checkpoints/../../x", "/etc/passwd"])
def test_shipped_stays_inside_its_folder(name):
    with pytest.raises(ValueError, match="name: expected a path inside data/"):
        runtime.resource_path(name)


@pytest.mark.parametrize("mount", ["cityscapes-image-pairs", "datasets/an-owner/cityscapes-image-pairs"])
def test_a_kaggle_data_set_is_found_under_both_mounts(mount, monkeypatch, tmp_path):
    (tmp_path / "datasets" / "another").mkdir(parents=True)
    assert runtime.kaggle_folder("cityscapes-image-pairs", tmp_path) is None
    (tmp_path / mount).mkdir(parents=True)
    assert runtime.kaggle_folder("cityscapes-image-pairs", tmp_path) == tmp_path / mount
    assert runtime.kaggle_folder("cityscapes-image", tmp_path) is None
    assert runtime.kaggle_folder("cityscapes-image-pairs", tmp_path / "nowhere") is None
    monkeypatch.setenv("LECTURE_KAGGLE_INPUT", str(tmp_path))
    assert runtime.kaggle_folder("cityscapes-image-pairs") == tmp_path / mount


@pytest.mark.parametrize("slug", ["", "..", "owner/slug", "*"])
def test_a_slug_is_one_name(slug, tmp_path):
    with pytest.raises(ValueError, match="slug: expected"):
        runtime.kaggle_folder(slug, tmp_path)
