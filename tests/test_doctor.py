"""The doctor finds what is missing, too old or broken, names its mend, and fails for what is core alone."""

import builtins
import importlib.metadata
import subprocess
import sys
import tomllib
from collections import namedtuple
from pathlib import Path

import pytest

from lecture_utils import doctor, runtime
from lecture_utils.doctor import Finding

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _on_a_laptop(monkeypatch):
    for name in ("KAGGLE_KERNEL_RUN_TYPE", "COLAB_RELEASE_TAG", "LECTURE_DEVICE", "LECTURE_PROFILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def healthy(monkeypatch):
    """Make every check that looks at this machine find it well, so that a test breaks one object alone."""
    monkeypatch.setattr(doctor, "check_packages", lambda: [Finding("core", "numpy", "2.0", ">=1.26")])
    monkeypatch.setattr(doctor, "check_torch", lambda: Finding("core", "torch + torchvision", "fit each other"))
    monkeypatch.setattr(doctor, "check_checkpoints", lambda: Finding("core", "checkpoints", "3 shipped"))
    monkeypatch.setattr(doctor, "check_disk", lambda: Finding("machine", "free disk space", "9 GiB"))
    monkeypatch.setattr(doctor, "check_tools", lambda: [Finding("handouts", "npm", "found")])


def _without(monkeypatch, *names, error=ImportError):
    real_import = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.split(".")[0] in names:
            raise error(f"no {name}") if error is not ImportError else ModuleNotFoundError(f"no {name}", name=name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)


def test_a_healthy_machine_has_nothing_to_mend(healthy):
    text, able = doctor.report()
    assert able
    assert "Nothing to mend." in text
    assert "cannot run" not in text


@pytest.mark.parametrize(("group", "able"), [("core", False), ("notebooks", True), ("handouts", True), ("test", True)])
@pytest.mark.parametrize("state", ["missing", "too old"])
def test_only_what_is_core_makes_it_fail(healthy, monkeypatch, group, state, able):
    broken = Finding(group, "nonesuch", "", ">=3", state, 'python -m pip install "nonesuch>=3"')
    monkeypatch.setattr(doctor, "check_packages", lambda: [broken])
    text, can_run = doctor.report()
    assert can_run is able
    assert any("nonesuch" in line and line.endswith(state) for line in text.splitlines())
    assert '  nonesuch: python -m pip install "nonesuch>=3"' in text.splitlines()


def test_a_package_is_ok_missing_or_too_old(monkeypatch):
    versions = {"torch": "2.10.0+cu126", "numpy": "1.25.2", "tqdm": "4.66.0.dev1"}

    def version(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert doctor.check_package("core", "torch>=2.10").state == "OK"
    old = doctor.check_package("core", "numpy>=1.26")
    assert (old.state, old.found, old.needed) == ("too old", "1.25.2", ">=1.26")
    assert old.mend == 'python -m pip install "numpy>=1.26"'
    assert doctor.check_package("core", "tqdm>=4.66").state == "too old"
    missing = doctor.check_package("test", "einops>=0.7")
    assert (missing.group, missing.state, missing.mend) == ("test", "missing", 'python -m pip install "einops>=0.7"')


@pytest.mark.parametrize("variable", ["KAGGLE_KERNEL_RUN_TYPE", "COLAB_RELEASE_TAG"])
def test_no_mend_upgrades_torch_on_a_hosted_machine(variable, monkeypatch):
    monkeypatch.setenv(variable, "x")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.1")
    for requirement in ("torch>=2.10", "torchvision>=0.25", "numpy>=1.26"):
        mend = doctor.check_package("core", requirement).mend
        assert "pip install" not in mend
        assert "do not upgrade" in mend
    assert "pip install" in doctor.check_package("core", "torchmetrics>=1.4").mend


def test_requirements_come_from_the_metadata_each_in_the_first_group_that_asks(monkeypatch):
    lines = [
        "torch>=2.10",
        "jupyterlab>=4; extra == 'notebooks'",
        "jupyterlab>=4; extra == 'test'",
        "lecture_utils[notebooks]; extra == 'test'",
        "pytest>=8; extra == 'test'",
        "nbgrader>=0.9; extra == 'coursework'",
        "pywin32>=1; sys_platform == 'nowhere'",
    ]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: lines)
    assert doctor.requirements() == [("core", "torch>=2.10"), ("notebooks", "jupyterlab>=4"), ("test", "pytest>=8")]


def test_requirements_are_read_from_a_checkout_that_nobody_installed(monkeypatch):
    def nothing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", nothing)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = doctor.requirements()
    for group, declared in {"core": project["dependencies"], **project["optional-dependencies"]}.items():
        if group in doctor.GROUPS:
            own = {need for need in declared if not need.startswith("lecture_utils[")}
            assert {need for of, need in listed if of == group} == own
    monkeypatch.setattr(runtime, "checkout", lambda: None)
    (finding,) = doctor.check_packages()
    assert (finding.group, finding.state) == ("core", "missing")


def test_without_packaging_the_doctor_still_speaks(monkeypatch):
    _without(monkeypatch, "packaging")
    (finding,) = doctor.check_packages()
    assert (finding.state, finding.mend) == ("missing", 'python -m pip install "packaging"')


def test_a_torch_pair_that_does_not_fit_is_named_with_its_mend(monkeypatch):
    assert doctor.check_torch().state == "OK"
    _without(monkeypatch, "torchvision", error=RuntimeError)
    broken = doctor.check_torch()
    assert (broken.group, broken.state) == ("core", "broken")
    assert "--force-reinstall torch torchvision" in broken.mend
    monkeypatch.setenv("COLAB_RELEASE_TAG", "x")
    assert "pip" not in doctor.check_torch().mend
    assert "fresh session" in doctor.check_torch().mend


def test_without_torch_there_is_a_whole_table_and_a_failure(monkeypatch):
    _without(monkeypatch, "torch")
    assert doctor.check_torch().state == "missing"
    text, able = doctor.report()
    assert not able
    assert "no torch" in text
    assert "unknown without torch" in text


def test_the_module_imports_nothing_heavy():
    code = "import sys, lecture_utils.doctor; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    modules = set(done.stdout.split())
    assert "lecture_utils.runtime" in modules
    assert not modules & {"torch", "numpy", "PIL", "matplotlib", "packaging"}


def test_python_too_old():
    assert doctor.check_python((3, 11, 0)).state == "OK"
    old = doctor.check_python((3, 10, 14))
    assert (old.group, old.state, old.found) == ("core", "too old", "3.10.14")


def test_missing_checkpoints_are_made_by_make(monkeypatch, tmp_path):
    monkeypatch.setattr(runtime, "resource_path", lambda name: tmp_path)
    missing = doctor.check_checkpoints()
    assert (missing.group, missing.state, missing.mend) == ("core", "missing", "make checkpoints")
    (tmp_path / "unet.safetensors").touch()
    assert doctor.check_checkpoints().found == "1 shipped"


def test_little_disk_space_is_told_where_the_data_goes(monkeypatch, tmp_path):
    usage = namedtuple("usage", "total used free")
    asked = []
    monkeypatch.setenv("LECTURE_DATA", str(tmp_path / "not" / "yet"))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: asked.append(path) or usage(0, 0, 2**30))
    low = doctor.check_disk()
    assert (low.group, low.state, low.found) == ("machine", "low", "1.0 GiB")
    assert asked == [tmp_path]


@pytest.mark.parametrize("variable", ["LECTURE_DATA", "LECTURE_KAGGLE_INPUT"])
def test_a_folder_that_can_be_none_is_a_row(monkeypatch, variable):
    monkeypatch.setenv(variable, "~nobody-of-this-name")
    row = doctor.check_disk()
    assert (row.name, row.state) == ("data folder", "broken")
    assert row.mend.startswith(f'{variable}: got "~nobody-of-this-name"')
    text, _ = doctor.report()
    assert row.mend in text


def test_a_folder_that_cannot_be_written_is_a_row(monkeypatch, tmp_path):
    monkeypatch.setenv("LECTURE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    row = doctor.check_disk()
    assert (row.name, row.state) == ("data folder", "broken")
    assert f"nothing can be written in {tmp_path}; name another folder in LECTURE_DATA" in row.mend


@pytest.mark.parametrize(("system", "installer"), [("Linux", "apt-get"), ("Darwin", "brew"), ("Windows", "winget")])
def test_each_missing_tool_has_the_line_that_installs_it(system, installer, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr(Path, "is_file", lambda path: False)
    findings = doctor.check_tools(system)
    assert [f.name for f in findings if f.state == "missing"] == ["npm", "Chromium"]
    assert all(installer in f.mend and f.group == "handouts" for f in findings)
    assert len(doctor.missing_tools().splitlines()) == 2


def test_tools_that_are_there_need_no_line(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/bin/{name}")
    assert doctor.missing_tools() == ""
    assert doctor.find_chromium() == "/bin/chromium"


def test_an_impossible_wish_in_the_environment_is_shown(monkeypatch):
    monkeypatch.setenv("LECTURE_PROFILE", "fast")
    finding = doctor.check_device()
    assert finding.state == "broken"
    assert "LECTURE_PROFILE" in finding.mend


@pytest.mark.parametrize("cloned", [False, True])
@pytest.mark.parametrize("variable", ["KAGGLE_KERNEL_RUN_TYPE", "COLAB_RELEASE_TAG"])
def test_on_a_platform_only_what_runs_there_is_listed(variable, cloned, monkeypatch):
    """It has notebooks of its own; handouts and tests are made elsewhere."""
    monkeypatch.setenv(variable, "x")
    monkeypatch.setattr(runtime, "checkout", lambda: ROOT if cloned else None)
    monkeypatch.setattr(doctor, "_declared", declared_by_the_project)
    developers = {"jupyterlab", "jupytext", "nbclient", "sphinx", "pytest", "nbval", "playwright", "timm", "npm"}
    listed = names_in(doctor.report()[0])
    assert {"torch", "jaxtyping", "ipywidgets", "checkpoints", "device"} <= listed
    assert not developers & listed
    assert developers <= names_in(doctor.report(everything=True)[0])


def test_from_a_wheel_on_a_laptop_the_notebooks_are_listed_too_and_in_a_checkout_all(monkeypatch):
    monkeypatch.setattr(doctor, "_declared", declared_by_the_project)
    assert {"torch", "jupyterlab", "sphinx", "pytest", "npm"} <= names_in(doctor.report()[0])
    monkeypatch.setattr(runtime, "checkout", lambda: None)
    listed = names_in(doctor.report()[0])
    assert {"torch", "jupyterlab", "ipywidgets"} <= listed
    assert not {"sphinx", "pytest", "npm"} & listed


def declared_by_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].items()
    return project["dependencies"] + [f'{need}; extra == "{extra}"' for extra, needs in extras for need in needs]


def names_in(text):
    return {line.split()[0] for line in text.splitlines() if line.startswith("  ")}
