"""The notebooks' first cells and the folder for Colab and Kaggle: what is installed from where, and what is said."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import platforms
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lecture_utils

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Of what the course's packages need, all that Colab and Kaggle have by their public lists of August 2026.
PRESENT = {
    *("torch", "torchvision", "numpy", "pillow", "matplotlib", "tqdm", "scikit-learn", "scikit-image", "scipy"),
    *("einops", "safetensors", "pycocotools", "packaging", "filelock", "typing-extensions", "setuptools"),
    *("pydantic", "regex"),
}

# IPython's `name = !command`, for a Python without IPython: {…} is worked out where the cell runs.
SHELL = """
import re, subprocess, sys
class Shell:
    def getoutput(self, command):
        command = re.sub(r"{([^{}]+)}", lambda match: str(eval(match[1], globals())), command)
        done = subprocess.run(command, shell=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        print(*done.stdout.splitlines(), sep="\\n", file=open("pip.log", "a"))
get_ipython = Shell
"""
COURSE = f'COURSE = "computer vision {lecture_utils.__version__}"\n'
RUNTIME = "def setup(seed):\n    print('set up')\n"


def with_address(commit="0123456789" * 4, url="https://github.com/owner/name"):
    settings = platforms.project()
    settings["project"]["urls"] = {"Repository": url}
    settings["tool"]["course"] = {"commit": commit}
    return settings


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_begins_as_pyproject_has_it(path):
    notebook = nbformat.read(path, as_version=4)
    platforms.stamp(notebook, platforms.project(), path.stem)
    assert nbformat.writes(notebook) + "\n" == path.read_text("utf-8"), "run: python handouts/platforms.py cells"


def test_the_version_stands_in_all_places():
    version = platforms.project()["project"]["version"]
    assert (lecture_utils.__version__, lecture_utils.COURSE) == (version, f"computer vision {version}")
    assert COURSE in Path(lecture_utils.__file__).read_text("utf-8")


@pytest.mark.parametrize("settings", [platforms.project(), with_address()], ids=["as it is", "with an address"])
def test_the_cell_is_short_and_in_the_style_of_the_others(settings, tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(platforms.setup_cell(settings))])
    assert len(notebook.cells[0].source.splitlines()) <= 15
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    nbformat.write(notebook, tmp_path / "notebooks" / "n.ipynb")
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "."], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout


def test_without_an_address_nothing_comes_from_the_network():
    settings = platforms.project()
    settings["project"].pop("urls", None)
    cell = platforms.setup_cell(settings)
    assert "://" not in cell
    assert "--no-index" in cell
    assert "](http" not in platforms.opening(settings, "n")


def test_an_address_is_installed_by_its_commit_and_badged():
    settings = with_address()
    assert "git+https://github.com/owner/name@" + "0123456789" * 4 in platforms.setup_cell(settings)
    badges = platforms.opening(settings, "n")
    assert "(https://colab.research.google.com/github/owner/name/blob/main/notebooks/n.ipynb)" in badges
    assert (
        "(https://kaggle.com/kernels/welcome?src=https://github.com/owner/name/blob/main/notebooks/n.ipynb)" in badges
    )
    assert "badge" not in platforms.opening(with_address(url="https://git.example.org/owner/name"), "n")


@pytest.mark.parametrize("commit", ["", "main", "v0.1.0", "0123456", "0123456789" * 4 + "\n"])
def test_an_address_without_a_commit_is_refused(commit):
    with pytest.raises(ValueError, match=r"\[tool.course\] commit: got .*, expected the 40 digits"):
        platforms.setup_cell(with_address(commit))


@pytest.mark.parametrize("url", ["github.com/owner/name", "https://x.org/a b", 'https://x.org/a"', "file:///etc/x"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ValueError, match=r"Repository: got .*, expected an address"):
        platforms.setup_cell(with_address(url=url))


def test_a_stamp_can_be_renewed():
    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    before = nbformat.writes(notebook)
    platforms.stamp(notebook, with_address(), NOTEBOOKS[0].stem)
    assert "colab-badge" in notebook.cells[0].source
    platforms.stamp(notebook, platforms.project(), NOTEBOOKS[0].stem)
    assert nbformat.writes(notebook) == before


def test_the_folder_and_the_platforms_have_all_that_is_needed():
    """Each wheel's own needs, too, since they are installed without dependencies."""
    absent = set(map(canonicalize_name, platforms.ABSENT))
    needs = [Requirement(line) for line in platforms.project()["project"]["dependencies"]]
    needs += [Requirement(line) for name in absent for line in importlib.metadata.requires(name) or []]
    named = {
        canonicalize_name(need.name) for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})
    }
    assert named - absent <= PRESENT


# The cell, run in a Python of its own that lacks the course.


def wheel(folder, name, content, version="1.0", needs=""):
    """A wheel with one package in it."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {f"{name}/{path}": text for path, text in content.items()}
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/RECORD"] = ""
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        for path, text in files.items():
            file.writestr(path, text)


def course(folder, text=COURSE, version=lecture_utils.__version__):
    wheel(
        folder, "lecture_utils", {"__init__.py": text, "runtime.py": RUNTIME}, version, "Requires-Dist: torch>=2.10\n"
    )


def others(folder, names=platforms.ABSENT):
    for name in names:
        wheel(folder, name, {"__init__.py": ""})


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A Python with an old torch, and without the course."""
    home = tmp_path_factory.mktemp("python")
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    torch = site_packages(home / "bin" / "python") / "torch-2.9.0.dist-info"
    torch.mkdir()
    (torch / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.9.0\n")
    return home / "bin" / "python"


@pytest.fixture
def run(python, tmp_path):
    """Run the first cell in a fresh process, with Kaggle's and Colab's folders below `tmp_path`."""

    def run(settings=None):
        cell = TransformerManager().transform_cell(platforms.setup_cell(settings or platforms.project()))
        cell = re.sub(r'"(/kaggle|/content)', lambda match: f'"{tmp_path}{match[1]}', cell)
        (tmp_path / "cell.py").write_text(SHELL + cell, "utf-8")
        # Whatever pip is told, it reaches no network here.
        environment = {**os.environ, "PYTHONPATH": "", "PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "0"}
        return subprocess.run([python, "cell.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)

    yield run
    for name in ("lecture_utils", *platforms.ABSENT):
        for path in site_packages(python).glob(f"{name}*"):
            shutil.rmtree(path)


def site_packages(python):
    (site,) = python.parents[1].glob("lib/python*/site-packages")
    return site


def installed(python):
    """Names and versions."""
    found = (path.name.removesuffix(".dist-info").split("-") for path in site_packages(python).glob("*.dist-info"))
    return dict(found)


@pytest.mark.parametrize(
    "place", ["kaggle/input/our-wheels", "kaggle/input/datasets/some one/our-wheels/dist/kaggle", "content"]
)
def test_everything_comes_from_the_folder_and_torch_stays(run, python, tmp_path, place):
    course(tmp_path / place)
    others(tmp_path / place)
    wheel(tmp_path / place, "torch", {"__init__.py": ""}, "2.11.0")  # not even if somebody had put one there
    for _ in range(2):  # again in the same session
        done = run()
        assert (done.stdout, done.stderr) == ("set up\n", "")
    assert {"lecture_utils", *platforms.ABSENT} <= set(installed(python))
    assert installed(python)["torch"] == "2.9.0"


def test_what_is_there_is_kept(run, python, tmp_path):
    wheel(tmp_path / "elsewhere", "torchmetrics", {"__init__.py": ""}, "0.9")
    command = [python, "-m", "pip", "install", "--quiet", "--no-index", *(tmp_path / "elsewhere").iterdir()]
    subprocess.run(command, check=True)
    course(tmp_path / "kaggle/input/x")
    others(tmp_path / "kaggle/input/x")
    assert run().stdout == "set up\n"
    assert installed(python)["torchmetrics"] == "0.9"


def is_refused(done):
    """One message, and no traceback."""
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 3
    return done.stderr


def test_without_anything_it_says_what_to_do_where(run, tmp_path):
    said = is_refused(run())
    assert "lecture_utils 0.1.0, is not installed here (found: None)" in said
    assert re.search(r"laptop.*`make lab`.*\.venv", said)
    assert re.search(r"Colab or Kaggle.*`make kaggle`.*README", said)
    assert not (tmp_path / "pip.log").exists()


def test_with_an_address_a_laptop_installs_nothing_and_kaggle_says_how_to_reach_it(run, tmp_path):
    settings = with_address(url="https://localhost/owner/name")
    assert "make lab" in is_refused(run(settings))
    assert not (tmp_path / "pip.log").exists()
    (tmp_path / "kaggle").mkdir()
    assert "Settings → Internet → on" in is_refused(run(settings))
    assert "git+https://localhost/owner/name@" + "0123456789" * 4 in (tmp_path / "pip.log").read_text()


def test_with_an_address_the_folder_still_serves(run, tmp_path):
    course(tmp_path / "kaggle/input/x")
    others(tmp_path / "kaggle/input/x")
    assert run(with_address()).stdout == "set up\n"


@pytest.mark.parametrize("text", ["", 'COURSE = "computer vision 0.0.9"\n', f'__version__ = "0.1.0"\n{"#" * 9}\n'])
def test_another_package_of_that_name_is_not_run(run, tmp_path, text):
    (tmp_path / "lecture_utils.py").write_text(text + "print('run')\n")
    done = run()
    assert f"found: {tmp_path / 'lecture_utils.py'}" in is_refused(done)
    assert done.stdout == ""


def test_nor_is_a_folder_of_that_name(run, tmp_path):
    (tmp_path / "lecture_utils").mkdir()
    assert "not installed here" in is_refused(run())


def test_a_wheel_alone_is_not_half_installed(run, python, tmp_path):
    course(tmp_path / "kaggle/input/x")
    others(tmp_path / "kaggle/input/x", platforms.ABSENT[1:])
    assert "upload all wheels" in is_refused(run())
    assert not {"lecture_utils", *platforms.ABSENT} & set(installed(python))


def test_a_wheel_of_another_version_is_not_taken(run, tmp_path):
    course(tmp_path / "kaggle/input/x", version="0.0.9")
    others(tmp_path / "kaggle/input/x")
    assert "lecture_utils 0.1.0" in is_refused(run())


def test_ipython_runs_it(tmp_path):
    """As a kernel does, where the course is installed: here nothing is."""
    (tmp_path / "cell.ipy").write_text(platforms.setup_cell(platforms.project()), "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path), "LECTURE_DEVICE": "cpu"}
    command = [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "cell.ipy"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout.startswith("This computer, CPU")


# make kaggle


def test_a_folder_that_cannot_be_made_is_left_as_it_was(tmp_path, monkeypatch):
    (tmp_path / "kaggle").mkdir()
    (tmp_path / "kaggle" / "old-1.0-py3-none-any.whl").write_text("old")

    def fails(*arguments):
        raise OSError("no network")

    monkeypatch.setattr(platforms, "_pip", fails)
    with pytest.raises(OSError, match="no network"):
        platforms.make_folder(tmp_path / "kaggle")
    assert [path.name for path in tmp_path.rglob("*")] == ["kaggle", "old-1.0-py3-none-any.whl"]


def test_only_wheels_are_replaced(tmp_path, monkeypatch):
    (tmp_path / "kaggle").mkdir()
    (tmp_path / "kaggle" / "old-1.0-py3-none-any.whl").write_text("old")
    (tmp_path / "kaggle" / "dataset-metadata.json").write_text("mine")

    def as_pip(command, *arguments):
        folder = Path(arguments[arguments.index("--wheel-dir" if command == "wheel" else "--dest") + 1])
        (folder / f"{command}-1.0-py3-none-any.whl").write_text("new")

    monkeypatch.setattr(platforms, "_pip", as_pip)
    made = platforms.make_folder(tmp_path / "kaggle")
    assert [path.name for path in made] == ["download-1.0-py3-none-any.whl", "wheel-1.0-py3-none-any.whl"]
    assert sorted(path.name for path in (tmp_path / "kaggle").iterdir()) == [
        "dataset-metadata.json",
        *(p.name for p in made),
    ]


def test_pip_without_a_network_is_one_sentence(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    with pytest.raises(OSError, match="is there a network") as caught:
        platforms._pip("download", "--no-deps", "jaxtyping==0.0.0")
    assert "\n" not in str(caught.value)


def test_light_copies_have_every_cell_and_no_output(tmp_path, capsys):
    assert platforms.main(["light", str(tmp_path / "new")]) == 0
    assert "14 notebooks" in capsys.readouterr().out
    for path in NOTEBOOKS:
        whole, light = (nbformat.read(file, as_version=4) for file in (path, tmp_path / "new" / path.name))
        assert [cell.source for cell in light.cells] == [cell.source for cell in whole.cells]
        assert [cell.metadata for cell in light.cells] == [cell.metadata for cell in whole.cells]
        assert not any(cell.get("outputs") for cell in light.cells)


def test_light_copies_replace_nothing(tmp_path):
    (tmp_path / NOTEBOOKS[0].name).write_text("mine")
    with pytest.raises(ValueError, match="OUT: expected a new or an empty folder"):
        platforms.write_light(tmp_path)
    assert (tmp_path / NOTEBOOKS[0].name).read_text() == "mine"
