"""Which module imports which: no circle, no arrow back, and nothing heavy before it is needed."""

import ast
import builtins
import dis
import importlib
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from types import CodeType

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("lecture_utils", "lecture_course")
    for path in (ROOT / package).rglob("*.py")
}
MODELS = {"segmentation", "detection", "captioning", "transformers", "generative"}
HEAVY = {"torchmetrics", "scipy.signal", "transformers", "sklearn", "skimage", "matplotlib", "pydantic", "IPython"}


def imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The modules that import statements name; of ours, the submodule itself."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in FILES else node.module for name in names)


def imports_of(part: str) -> dict[str, set[str]]:
    """Module → all that it imports, wherever the statement stands, for each module of a part of lecture_utils."""
    prefix = f"lecture_utils.{part}".removesuffix(".")
    ours = [name for name in FILES if name == prefix or name.startswith(f"{prefix}.")]
    return {name: set(imported(ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))))) for name in ours}


def breaches(part: str, allowed: Callable[[str], bool]) -> list[str]:
    """What modules of a part of lecture_utils import of its other parts that is not allowed."""
    return [
        f"{name} imports {each}"
        for name, found in imports_of(part).items()
        for each in found
        if each.startswith("lecture_utils.") and not allowed(each.split(".")[1])
    ]


def test_the_package_knows_nothing_of_the_course():
    everything = imports_of("")
    assert len(everything) > 100
    assert {each for found in everything.values() for each in found if each.startswith("lecture_course")} == set()


@pytest.mark.parametrize("part", sorted(MODELS))
def test_models_import_each_other_and_little_else(part):
    # Where Selective Search's stored proposals lie, and how long it takes.
    searches = {"runtime", "costs"} if part == "detection" else set()
    assert breaches(part, (MODELS | searches | {"arguments", "downloads", "cityscapes"}).__contains__) == []


@pytest.mark.parametrize("part", ["figures", "explorers"])
def test_figures_know_nothing_of_tasks_and_trainings(part):
    assert breaches(part, lambda other: other not in {"tasks", "recipes", "training", "studies"}) == []


def test_the_toy_city_is_painted_without_torch():
    found = set().union(*imports_of("toycity").values())
    assert {name for name in found if name.split(".")[0].startswith("torch")} == set()
    assert breaches("toycity", {"toycity", "cityscapes", "files", "processes"}.__contains__) == []


def globals_of(code: CodeType) -> Iterator[str]:
    """The global names that the functions within a piece of code read."""
    yield from (step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL")
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from globals_of(inner)


def test_every_name_that_a_function_uses_is_there():
    """Ruff cannot look after it: to its rule F821 the axes that annotations name are undefined, too."""
    missing = []
    for name, path in FILES.items():
        if name.endswith("__main__") or name == "lecture_utils.exercises":  # which raises, for old notebooks
            continue
        used = set(globals_of(compile(path.read_text(encoding="utf-8"), str(path), "exec")))
        missing += [f"{name}: {each}" for each in used - set(vars(importlib.import_module(name))) - set(dir(builtins))]
    assert missing == []


def test_no_module_imports_itself_in_a_circle():
    """Within functions it may: there the other module is whole."""
    graph = {
        name: set(imported(ast.parse(path.read_text(encoding="utf-8")).body)) & set(FILES)
        for name, path in FILES.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [("lecture_utils.recipes", HEAVY), ("lecture_course", HEAVY | {"torchvision", "scipy", "lecture_utils.recipes"})],
)
def test_nothing_heavy_is_imported_before_it_is_needed(module, unwanted):
    """Libraries that take seconds to import wait for the functions that use them: students import and wait."""
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    modules = set(done.stdout.split())
    assert module in modules
    assert modules & unwanted == set()
