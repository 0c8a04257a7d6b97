"""JupyterLab runs a notebook from top to bottom; an explorer moves in it, or at least shows its image."""

import copy
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

CELLS = [
    new_markdown_cell("# Small\n\nThe sum is $x^2$."),
    new_code_cell("from lecture_utils import cityscapes\n\nprint(len(cityscapes.CLASSES), 'classes')"),
    new_code_cell("import matplotlib.pyplot as plt\n\nplt.imshow(cityscapes.PALETTE[None])\nplt.show()"),
    new_code_cell("print('the last ' + 'cell')"),
]
BARS = """import matplotlib.pyplot as plt

from lecture_utils.explorers import Explorer, Slider


def draw(width, height):
    fig, ax = plt.subplots(figsize=(4, 2))
    ax.barh([0], [100 / (width - 5)], height)
    return fig


Explorer(draw, title="A bar", alt="A bar", width=Slider("width", (1, 4, 5, 6), frames=(1, 4)),
         height=Slider("height (m)", (0.5, 1)))"""


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab that serves a folder with three notebooks, as a function of their names."""
    pytest.importorskip("jupyterlab", reason="no JupyterLab (pip install jupyterlab)")
    (tmp_path / "notebooks").mkdir()
    python = {"name": "python3", "display_name": "Python 3", "language": "python"}
    explorer = new_code_cell(BARS)
    stored = copy.deepcopy(explorer)
    space = {}
    exec(BARS[: BARS.rindex("Explorer(")] + "explorer = " + BARS[BARS.rindex("Explorer(") :], space)
    bundle = space["explorer"]._repr_mimebundle_()
    stored.outputs = [
        new_output("execute_result", {"text/html": bundle["text/html"], "text/plain": bundle["text/plain"]})
    ]
    for name, cells in {"small": CELLS, "explorer": [explorer], "stored": [stored]}.items():
        notebook = new_notebook(cells=cells, metadata={"kernelspec": python})
        nbformat.write(notebook, tmp_path / "notebooks" / f"{name}.ipynb")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    # Nobody's own settings, kernels and history come in.
    own = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "JUPYTERLAB_SETTINGS_DIR")
    own += ("JUPYTERLAB_WORKSPACES_DIR",)
    settings = {
        "ServerApp.root_dir": tmp_path / "notebooks",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.allow_root": True,
        "IdentityProvider.token": token,
        "LabApp.expose_app_in_browser": True,
        "LabApp.news_url": None,
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "LabApp.extension_manager": "readonly",
    }
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        *(f"--{key}={value}" for key, value in settings.items()),
    ]
    environment = os.environ | {name: str(tmp_path / name.lower()) for name in own}
    with open(tmp_path / "log", "w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=tmp_path)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/api?token={token}", timeout=5).read()
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.5)
        yield lambda name: f"{address}/lab/tree/{name}.ipynb?token={token}"
    finally:
        server.terminate()
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:  # on a busy machine; its kernels end by themselves when it is gone
            server.kill()
            server.wait()


@pytest.fixture
def opened(lab, page):
    """Opens a notebook; in the end no script has failed."""
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))

    def go(name):
        page.goto(lab(name))
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        return page

    yield go
    assert errors == []


def run_all(page):
    page.wait_for_function("window.jupyterapp?.commands.hasCommand('notebook:run-all-cells')")
    # Asked earlier, it would open a dialogue that asks for a kernel.
    page.wait_for_function("jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")
    page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")


@pytest.mark.timeout(180)
def test_runs_a_notebook(opened):
    page = opened("small")
    run_all(page)
    page.locator(".jp-OutputArea-output", has_text="the last cell").wait_for()
    assert page.locator(".jp-OutputArea-output", has_text="19 classes").count() == 1
    assert page.locator(".jp-OutputArea-output img").count() == 1
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert page.locator(".jp-MarkdownOutput mjx-container").count() == 1
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()
    assert [prompt.strip() for prompt in prompts] == ["[1]:", "[2]:", "[3]:"]


@pytest.mark.timeout(180)
def test_an_explorer_moves_by_keyboard_and_survives_an_error(opened):
    page = opened("explorer")
    run_all(page)
    output = page.locator(".jp-OutputArea-output", has=page.locator(".widget-slider"))
    picture = output.locator("img[alt='A bar (width 1, height (m) 0.5)']")
    picture.wait_for()
    assert output.locator("img").count() == 1  # the live image alone, without the frames of the page
    seen = [picture.get_attribute("src")]
    width, height = output.locator(".noUi-handle").all()

    def press(handle, key, words):
        handle.press(key)
        moved = output.locator(f"img[alt='A bar ({words})']")
        moved.wait_for()
        seen.append(moved.get_attribute("src"))

    press(width, "ArrowRight", "width 4, height (m) 0.5")
    press(height, "ArrowRight", "width 4, height (m) 1")
    assert output.locator(".widget-readout").all_inner_texts() == ["4", "1"]
    width.press("ArrowRight")
    output.get_by_role("alert").wait_for()
    assert "width 5, height (m) 1" in output.get_by_role("alert").inner_text()
    assert "ZeroDivisionError: division by zero" in output.get_by_role("alert").inner_text()
    press(width, "ArrowRight", "width 6, height (m) 1")  # was not drawn in advance
    assert len(set(seen)) == 4
    assert all(address.startswith("data:image/webp;base64,") for address in seen)
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0


@pytest.mark.timeout(180)
def test_a_stored_explorer_is_a_picture_that_moves_once_trusted(opened):
    page = opened("stored")
    figure = page.locator("figure.explorer")
    figure.locator("img").wait_for()
    assert figure.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") >= 320
    assert not figure.locator("input").first.is_visible()
    assert figure.get_by_text("One of 4 images: width 1, height (m) 0.5.").is_visible()

    page.wait_for_function("window.jupyterapp?.commands.hasCommand('notebook:trust')")
    page.evaluate("void jupyterapp.commands.execute('notebook:trust')")
    page.get_by_role("button", name="Trust").click()
    page.wait_for_selector("figure.explorer[data-alive]")
    before = figure.locator("img").get_attribute("src")
    figure.locator("input").first.press("ArrowRight")
    assert figure.locator("img").get_attribute("alt") == "A bar (width 4, height (m) 0.5)"
    assert figure.locator("img").get_attribute("src") != before
