"""What holds of all tests."""

import sys
import urllib.error

import matplotlib
import pytest
from hypothesis import settings

# A busy machine is slow at times; that is no fault of the code.
settings.register_profile("course", deadline=None)
settings.load_profile("course")


matplotlib.use("agg")  # figures are drawn without a screen; a variable would reach the kernels that tests start


@pytest.fixture(autouse=True)
def _figures_are_closed():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """An empty cache of torch's, and an error for every download."""

    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub._hub_dir", None)
    monkeypatch.setattr("torch.hub.urlopen", refuse)
