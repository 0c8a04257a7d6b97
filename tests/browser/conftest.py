"""Chromium and the page of the experiments for the tests of this folder, which are skipped where one is missing."""

import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from other_browsers import LISTENER

from lecture_utils.doctor import find_chromium

HANDOUTS = Path(__file__).resolve().parents[2] / "handouts"
HEAD = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Playground</title>{LISTENER}
<link rel="stylesheet" href="_static/live.css"><body>
"""


@pytest.fixture(scope="session")
def build():
    spec = importlib.util.spec_from_file_location("handouts_build", HANDOUTS / "build.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def chromium():
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium or Chrome (apt-get install chromium)")
    return path


@pytest.fixture(scope="session")
def browser(build, chromium):
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright (pip install playwright)")
    with playwright.sync_playwright() as driver:
        # playwright adds --headless itself.
        flags = [flag for flag in build.BROWSER_FLAGS if flag != "--headless"]
        instance = driver.chromium.launch(executable_path=chromium, args=flags)
        yield instance
        instance.close()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1400, "height": 900}, color_scheme="light")
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A folder with the playground and what it loads, made once for all processes of a test run."""
    from live import assets, places

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "site"
    with FileLock(shared / "site.lock"):
        if lacking := assets.make(folder / "_static" / "live"):
            pytest.skip(lacking)
        shutil.copy(HANDOUTS / "_static" / "live.css", folder / "_static")
        page = re.sub(r"(?m)^#+ +(.*)$", r"<h2>\1</h2>", places.playground(runs=True))
        (folder / "playground.html").write_text(HEAD + page, "utf-8")
    return folder


@pytest.fixture(scope="session")
def site_without_worker(site, tmp_path_factory):
    """The same folder for a browser that starts no worker."""
    from live import assets

    folder = shutil.copytree(site, tmp_path_factory.mktemp("copy") / "site")
    assets.put(folder / "_static" / "live", "worker", b"throw new Error('no worker today');")
    return folder


@pytest.fixture(scope="session")
def axe():
    """The script of axe-core, which looks for what shuts people out; from npm, as MathJax is."""
    import npm

    try:
        (script,) = npm.files("axe-core@4", ["axe.min.js"])
    except npm.Missing as lack:
        pytest.skip(str(lack))
    return script.decode()
