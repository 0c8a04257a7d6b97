"""JupyterLab opens a notebook and runs it from top to bottom."""

import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

CELLS = [
    new_markdown_cell("# Small\n\nThe sum is $x^2$."),
    new_code_cell("from lecture_utils import cityscapes\n\nprint(len(cityscapes.CLASSES), 'classes')"),
    new_code_cell("import matplotlib.pyplot as plt\n\nplt.imshow(cityscapes.PALETTE[None])\nplt.show()"),
    new_code_cell("print('the last ' + 'cell')"),
]


@pytest.fixture
def lab(tmp_path):
    """The address, with its token, of a JupyterLab that serves a folder with one notebook."""
    pytest.importorskip("jupyterlab", reason="no JupyterLab (pip install jupyterlab)")
    (tmp_path / "notebooks").mkdir()
    python = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=CELLS, metadata={"kernelspec": python}), tmp_path / "notebooks" / "small.ipynb")
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
        yield f"{address}/lab/tree/small.ipynb?token={token}"
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.mark.timeout(180)
def test_runs_a_notebook(lab, page):
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(lab)
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_function("window.jupyterapp?.commands.hasCommand('notebook:run-all-cells')")
    # Asked earlier, it would open a dialogue that asks for a kernel.
    page.wait_for_function("jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")
    page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")

    page.locator(".jp-OutputArea-output", has_text="the last cell").wait_for()
    assert page.locator(".jp-OutputArea-output", has_text="19 classes").count() == 1
    assert page.locator(".jp-OutputArea-output img").count() == 1
    assert page.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert page.locator(".jp-MarkdownOutput mjx-container").count() == 1
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()
    assert [prompt.strip() for prompt in prompts] == ["[1]:", "[2]:", "[3]:"]
    assert errors == []
