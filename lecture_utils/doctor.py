"""What is here, what is missing, and the one line that mends it; works when torch itself is missing."""

import importlib.metadata
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from lecture_utils import runtime

GROUPS = ("core", "notebooks", "handouts", "test")  # only what is core makes the course unable to run
OLDEST_PYTHON = (3, 11)
FREE_GIB = 2.0  # the generated city, checkpoints of interrupted trainings and the rendered handouts
_PRESET = ("torch", "torchvision", "numpy")  # built to fit each other on Colab and Kaggle: never to be upgraded there
_NEWEST = {
    "colab": "Runtime → Change runtime type → Runtime version",
    "kaggle": "Settings → Environment → Always use latest environment",
}


@dataclass(frozen=True)
class Finding:
    """One row of the table: `state` is "OK", or "missing", "too old", "broken", "low" with the line that mends it."""

    group: str
    name: str
    found: str
    needed: str = ""
    state: str = "OK"
    mend: str = ""


def report(*, everything: bool = False) -> tuple[str, bool]:
    """Examine this machine; give the table as text, and whether the course can run here.

    The table holds what this use needs: all in a checkout, what notebooks need where a wheel is installed, and on Colab
    and Kaggle, which have notebooks of their own, what runs in them. `everything` lists all everywhere.
    """
    findings = [check_python(), *check_packages(), check_torch(), check_checkpoints(), check_disk(), *check_tools()]
    findings = [f for f in (*findings, check_device()) if everything or _is_for_this_use(f)]
    able = all(f.state == "OK" for f in findings if f.group == "core")
    return table(findings) + ("" if able else "\nThe course cannot run here yet.\n"), able


def _is_for_this_use(finding: Finding) -> bool:
    if finding.group in ("core", "machine"):
        return True
    if runtime.platform() != "laptop":
        return finding.name == "ipywidgets"
    return finding.group == "notebooks" or runtime.checkout() is not None


def unmet() -> list[str]:
    """A sentence for each package of the core that is missing here or too old."""
    broken = [f for f in check_packages() if f.group == "core" and f.state != "OK"]
    return [f"{' '.join((f.name, f.found)).strip()} is {f.state} ({f.needed} is needed): {f.mend}.\n" for f in broken]


def table(findings: list[Finding]) -> str:
    """Lay the findings out group by group, and after them one line for each thing to mend."""
    wide = {column: max(len(getattr(f, column)) for f in findings) for column in ("name", "found", "needed")}
    lines = []
    for group in dict.fromkeys(f.group for f in findings):
        lines.append(group if group in ("core", "machine") else f"{group} (optional)")
        for f in (f for f in findings if f.group == group):
            row = f"{f.name:{wide['name']}}  {f.found:{wide['found']}}  {f.needed:{wide['needed']}}  {f.state}"
            lines.append(f"  {row}".rstrip())
    broken = [f for f in findings if f.state != "OK"]
    lines += ["", "To mend:" if broken else "Nothing to mend."]
    lines += [f"  {f.name}: {f.mend}" for f in broken]
    return "\n".join(lines) + "\n"


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    """See whether Python is new enough."""
    found, needed = (".".join(map(str, v)) for v in (version, OLDEST_PYTHON))
    if version >= OLDEST_PYTHON:
        return Finding("core", "Python", found, f">={needed}")
    return Finding("core", "Python", found, f">={needed}", "too old", f"install Python {needed} or newer")


def requirements() -> list[tuple[str, str]]:
    """List what the course needs as (group, requirement); each package once, in the first group that asks for it."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    listed: dict[str, tuple[str, str]] = {}
    declared = [Requirement(line) for line in _declared()]
    for group in GROUPS:
        for need in declared:
            wanted = need.marker is None or need.marker.evaluate({"extra": group})
            if wanted and canonicalize_name(need.name) != "lecture-utils":
                listed.setdefault(canonicalize_name(need.name), (group, f"{need.name}{need.specifier}"))
    return list(listed.values())


def _declared() -> list[str]:
    try:
        return importlib.metadata.requires("lecture_utils") or []
    except importlib.metadata.PackageNotFoundError:  # imported from a checkout that nobody installed
        if runtime.checkout() is None:
            return []
        import tomllib  # here, so that a Python too old to have it still gets its table

        project = tomllib.loads((runtime.checkout() / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        extras = project["optional-dependencies"].items()
        return project["dependencies"] + [f'{need}; extra == "{extra}"' for extra, needs in extras for need in needs]


def check_packages() -> list[Finding]:
    """Compare each required package with what is installed."""
    try:
        needs = requirements()
    except ImportError:
        return [Finding("core", "packaging", "", "", "missing", _pip("packaging"))]
    if not needs:
        mend = "install the course with pip; a copied folder does not say what it needs"
        return [Finding("core", "requirements", "", "", "missing", mend)]
    return [check_package(group, need) for group, need in needs]


def check_package(group: str, requirement: str) -> Finding:
    """Compare one requirement, such as "tqdm>=4.66", with the installed package."""
    from packaging.requirements import Requirement

    need = Requirement(requirement)
    needed = str(need.specifier)
    try:
        found = importlib.metadata.version(need.name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(group, need.name, "", needed, "missing", _pip(requirement))
    if need.specifier.contains(found, prereleases=True):
        return Finding(group, need.name, found, needed)
    return Finding(group, need.name, found, needed, "too old", _pip(requirement))


def _pip(requirement: str) -> str:
    if runtime.platform() != "laptop" and requirement.split(">")[0] in _PRESET:
        return f"take the newest runtime ({_NEWEST[runtime.platform()]}); do not upgrade this package here"
    return f'python -m pip install "{requirement}"'


def check_torch() -> Finding:
    """Import torch and torchvision together: a partial upgrade leaves a pair of which each alone looks well."""
    name = "torch + torchvision"
    try:
        import torch  # noqa: F401
        import torchvision  # noqa: F401
    except ImportError as error:
        missing = error.name in ("torch", "torchvision")
        state, found = ("missing", f"no {error.name}") if missing else ("broken", "do not import")
    except Exception:  # a broken pair raises anything; "operator torchvision::nms does not exist" is the usual one
        state, found = "broken", "do not fit"
    else:
        return Finding("core", name, "fit each other")
    mend = "python -m pip install --upgrade --force-reinstall torch torchvision"
    if state == "missing":
        mend = "python -m pip install torch torchvision"
    elif runtime.platform() != "laptop":
        mend = "start a fresh session and do not upgrade torch or torchvision in it"
    return Finding("core", name, found, "", state, mend)


def check_checkpoints() -> Finding:
    """See whether trained weights came with the course."""
    try:
        names = sorted(path.stem for path in runtime.resource_path("checkpoints").glob("*.safetensors"))
    except FileNotFoundError:
        names = []
    if names:
        return Finding("core", "checkpoints", f"{len(names)} shipped")
    return Finding("core", "checkpoints", "", "", "missing", "make checkpoints")


def check_disk() -> Finding:
    """See whether there is room for what the course generates."""
    try:
        root = runtime.data_root()
        runtime.kaggle_folder("any")
    except ValueError as error:  # an environment variable names what can be no folder
        return Finding("machine", "data folder", "", "", "broken", str(error))
    folder = next(path for path in (root, *root.parents) if path.is_dir())
    if not os.access(folder, os.W_OK):
        mend = f"nothing can be written in {folder}; name another folder in LECTURE_DATA"
        return Finding("machine", "data folder", "", "", "broken", mend)
    free = shutil.disk_usage(folder).free / 2**30
    needed = f">={FREE_GIB:g} GiB"
    if free >= FREE_GIB:
        return Finding("machine", "free disk space", f"{free:.0f} GiB", needed)
    mend = "free some, or name another folder in LECTURE_DATA"
    return Finding("machine", "free disk space", f"{free:.1f} GiB", needed, "low", mend)


def check_device() -> Finding:
    """Tell what the course will compute with, as `runtime.setup` would choose it."""
    try:
        run = runtime.setup(quiet=True)
    except ValueError as error:  # an environment variable asks for what cannot run here
        return Finding("machine", "device", "", "", "broken", str(error))
    except Exception:  # without torch, or with a broken one, which has its own row
        return Finding("machine", "device", "unknown without torch")
    return Finding("machine", "device", f"{run.device}, {run.precision}, {run.profile} profile")


def find_chromium() -> str | None:
    """Find the Chromium (or Chrome) that prints the PDFs and runs the browser tests, or None."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    on_a_mac = [Path(f"/Applications/{name}.app/Contents/MacOS/{name}") for name in ("Chromium", "Google Chrome")]
    found = [shutil.which(name) for name in names] + [str(path) for path in on_a_mac if path.is_file()]
    return next(filter(None, found), None)


def check_tools(system: str = platform.system()) -> list[Finding]:
    """Look for the programs that are not Python's: npm for offline mathematics, Chromium for PDFs and browser tests."""
    mend = {
        "Darwin": ("brew install node", "brew install --cask chromium"),
        "Windows": ("winget install OpenJS.NodeJS", "winget install Google.Chrome"),
    }.get(system, ("sudo apt-get install -y npm", "sudo apt-get install -y chromium"))
    tools = (
        ("npm", "offline handouts", shutil.which("npm"), mend[0]),
        ("Chromium", "PDFs and browser tests", find_chromium(), mend[1]),
    )
    return [
        Finding("handouts", name, "found" if path else "", purpose, *(() if path else ("missing", line)))
        for name, purpose, path, line in tools
    ]


def missing_tools() -> str:
    """Say in one line each which of these programs is missing, what goes without it and what installs it."""
    missing = [f for f in check_tools() if f.mend]
    return "".join(f"{f.name} is missing, which {f.needed} need; install it with: {f.mend}\n" for f in missing)
