"""What Colab and Kaggle need: the notebooks' first cells, a folder of wheels to upload, and notebooks small enough.

    python handouts/platforms.py cells      write address and version of pyproject.toml into the notebooks
    python handouts/platforms.py kaggle     make dist/kaggle, from which the first cell installs without a network
    python handouts/platforms.py light OUT  copy the notebooks, without their outputs, into the folder OUT

The address stands in one place, [project.urls] Repository of pyproject.toml, and beside it, in [tool.course] commit,
what is to be installed from there: whoever owns the address owns what students run, so it is never installed unpinned.
While there is no address the notebooks have no badges, and install from the folder alone.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import nbformat

from lecture_utils import checkpoints

ROOT = Path(__file__).resolve().parent.parent
# What the course needs and Kaggle (the first two) or Colab (all) lack, by their public lists. All are pure Python, and
# installed without their dependencies, so that nothing that is there is replaced.
ABSENT = ("jaxtyping", "wadler_lindig", "torchmetrics", "lightning_utilities")
PYTHON = "3.12"  # the older of the two platforms'

# Not `pip = !…`: IPython 7, which both platforms have, does not know that from Python 3.12 on.
_BEGIN = """\
from importlib.util import find_spec
from pathlib import Path
from sys import executable as py

"""
_END = """\
found = getattr(find_spec("lecture_utils"), "origin", None)
if not found or 'COURSE = "computer vision {version}"' not in open(found).read():
    raise SystemExit({message})
from lecture_utils import runtime

run = runtime.setup(seed=0)"""
_WHEELS = """\
if wheels := [*Path("/kaggle/input").rglob("{wheel}"), *Path("/content").glob("{wheel}")]:
"""
_FROM_WHEELS = """\
    what = f"-f '{{wheels[0].parent}}' lecture_utils=={version} {absent}"
    _ = get_ipython().getoutput(f"{{py}} -m pip install --no-deps --no-index {{what}}")  # and no torch
"""
_FROM_ADDRESS = """\
    what = f"--no-deps --no-index -f '{{wheels[0].parent}}' lecture_utils=={version}"
if (Path("/kaggle").exists() or Path("/content").exists()) and not find_spec("lecture_utils"):
    _ = get_ipython().getoutput(f"{{py}} -m pip install {{what}} {absent}")
"""
_SAY_WHEELS = '''\
f"""The course, lecture_utils {version}, is not installed here (found: {{found}}).
On a laptop, start the notebook with `make lab`, or choose the Python of .venv as its kernel.
On Colab or Kaggle, upload all wheels that `make kaggle` makes, as README.md says, and start again."""'''
_SAY_ADDRESS = (
    'f"No lecture_utils {version} ({{found}}). Settings → Internet → on, or add its wheels. Laptop: make lab"'
)
_OPENING = "On Colab or Kaggle: upload this notebook and the wheels of `make kaggle`, as the README says."


def project() -> dict:
    """The content of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def address(settings: dict) -> tuple[str, str]:
    """The public address and the commit to install from there, or two empty texts; ValueError for one without other."""
    url = settings["project"].get("urls", {}).get("Repository", "").removesuffix("/")
    commit = settings.get("tool", {}).get("course", {}).get("commit", "")
    if url and not re.fullmatch(r"https://[\w.-]+(?:/[\w.-]+)+", url):
        raise ValueError(
            f'pyproject.toml: Repository: got {url!r}, expected an address such as "https://host/owner/name"'
        )
    if url and not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise ValueError(
            f"pyproject.toml: [tool.course] commit: got {commit!r}, expected the 40 digits of the commit to install "
            "from Repository; a branch or a tag can be moved to other code"
        )
    return (url, commit) if url else ("", "")


def setup_cell(settings: dict) -> str:
    """The first code cell, the same in every notebook."""
    url, commit = address(settings)
    source = f'what = "--no-deps git+{url}@{commit}"\n' if url else ""
    template = _BEGIN + source + _WHEELS + (_FROM_ADDRESS if url else _FROM_WHEELS) + _END
    version = settings["project"]["version"]
    message = (_SAY_ADDRESS if url else _SAY_WHEELS).format(version=version)
    wheel = f"lecture_utils-{version}-*"
    return template.format(version=version, wheel=wheel, absent=" ".join(ABSENT), message=message)


def opening(settings: dict, name: str) -> str:
    """What stands below a notebook's title: its badges, or how to use it where they would lead."""
    url, _ = address(settings)
    if not url.startswith("https://github.com/"):  # elsewhere neither Colab nor Kaggle opens notebooks
        return _OPENING
    path = f"blob/main/notebooks/{name}.ipynb"
    owner = url.removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{owner}/{path}"
    kaggle = f"https://kaggle.com/kernels/welcome?src={url}/{path}"
    return (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab})\n"
        f"[![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)]({kaggle})"
    )


def stamp(notebook: nbformat.NotebookNode, settings: dict, name: str) -> None:
    """Write opening and set-up into a notebook, in place: below its title, and in its first code cell."""
    title, _, rest = notebook.cells[0].source.split("\n\n", 2)
    notebook.cells[0].source = "\n\n".join((title, opening(settings, name), rest))
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    first.source = setup_cell(settings)
    first.metadata["tags"] = sorted({"hide-input", *first.metadata.get("tags", ())})  # the handout folds it


def write_cells() -> None:
    settings = project()
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        stamp(notebook, settings, path.stem)
        checkpoints.write(path, nbformat.writes(notebook).encode() + b"\n")


def write_light(out: Path) -> list[Path]:
    """Copy the notebooks without their outputs, for platforms that limit a file's size, into a new or empty folder."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"OUT: expected a new or an empty folder, got {out}")
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.update(outputs=[], execution_count=None)
        nbformat.write(notebook, out / path.name)
    return sorted(out.glob("*.ipynb"))


def make_folder(folder: Path = ROOT / "dist" / "kaggle") -> list[Path]:
    """Fill `folder` with the course's wheel and those of what the platforms lack, in place of the wheels in it.

    Needs a network. Raises OSError with pip's reason where one of them cannot be had, and leaves the folder as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as wheels:
        _pip("wheel", "--no-deps", "--wheel-dir", wheels, ROOT)
        only = ["--python-version", PYTHON, "--implementation", "py", "--abi", "none", "--platform", "any"]
        _pip("download", "--no-deps", "--only-binary=:all:", *only, "--dest", wheels, *ABSENT)
        for old in folder.glob("*.whl"):
            old.unlink()
        for new in Path(wheels).iterdir():
            new.rename(folder / new.name)
    return sorted(folder.glob("*.whl"))


def _pip(*arguments) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reasons = [line for line in done.stderr.splitlines() if line.strip()]
        raise OSError(f"pip could not make the wheels; is there a network? {' '.join(reasons[-1:])}")


def main(arguments: list[str]) -> int:
    if arguments == ["cells"]:
        write_cells()
    elif arguments == ["kaggle"]:
        for path in make_folder():
            print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1e6:.1f} MB")
        print("Upload this folder to Kaggle as a data set, or its files to Colab; README.md says how.")
    elif len(arguments) == 2 and arguments[0] == "light":
        written = write_light(Path(arguments[1]))
        print(
            f"{len(written)} notebooks, {sum(path.stat().st_size for path in written) / 1e6:.1f} MB in {arguments[1]}"
        )
    else:
        print(__doc__)
        return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (ValueError, OSError) as problem:
        sys.exit(str(problem))
