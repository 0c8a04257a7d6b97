"""The scripts of handouts/ as modules."""

import importlib.util
import sys
from pathlib import Path

import pytest

HANDOUTS = Path(__file__).resolve().parents[2] / "handouts"


def load(name):
    spec = importlib.util.spec_from_file_location(f"handouts_{name}", HANDOUTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def build():
    pytest.importorskip("nbformat")
    return load("build")


@pytest.fixture
def execute():
    pytest.importorskip("nbclient")
    return load("execute")


@pytest.fixture
def conf():
    pytest.importorskip("sphinx")
    return load("conf")
