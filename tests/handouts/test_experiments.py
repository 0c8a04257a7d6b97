"""handouts/live: what experiments load and where they stand; tests/browser/test_experiments_run.py runs them."""

import base64
import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from live import assets, networks, places, sprites
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


@pytest.mark.parametrize("name", ["vit", "regions"])  # the second crops features by RoI align
def test_an_exported_network_gives_what_pytorch_gives_from_half_the_bytes(tmp_path, name):
    onnx = pytest.importorskip("onnx")
    file = tmp_path / f"{name}.onnx"
    networks.export(name, file)
    assert networks.largest_difference(name, file, trials=5) < networks.TOLERANCE
    assert str(NOTEBOOKS.parent).encode() not in file.read_bytes()  # the exporter notes where code lies
    weights = onnx.load(file).graph.initializer
    bytes_of = {kind: sum(len(w.raw_data) for w in weights if w.data_type == kind) for kind in (1, 10)}  # float, half
    assert bytes_of[10] > 20 * bytes_of[1]


def test_comparing_leaves_nothing_in_the_home_folder(tmp_path):
    pytest.importorskip("onnxruntime")
    code = (
        "import sys, pathlib; sys.path.insert(0, 'handouts'); from live import networks; import onnx\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "try: networks.largest_difference('vit', path / 'missing.onnx')\n"
        "except Exception as error: print(type(error).__name__)\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": ""}
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", code, str(tmp_path)]
    ran = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert ran.stdout.strip() == "NoSuchFile", ran.stderr
    assert not [path for path in home.rglob("*") if "onnxruntime" in path.name]


def test_a_network_that_differs_leaves_no_file(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.setattr(networks, "largest_difference", lambda name, path: 1e-3)
    with pytest.raises(RuntimeError, match=r"vit: ONNX and PyTorch differ by 1\.0e-03, expected 1e-04 at most"):
        networks.export("vit", tmp_path / "vit.onnx")
    assert list(tmp_path.iterdir()) == []


def test_gates_of_one_are_the_network_as_trained_and_gates_of_zero_are_not():
    wrapped, image = networks.NETWORKS["unet"].module(), torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        plain = wrapped.unet(image).softmax(1)
        torch.testing.assert_close(wrapped(image, torch.ones(4)), plain)
        assert (wrapped(image, torch.zeros(4)) - plain).abs().max() > 0.1


def test_weights_that_would_lose_digits_stay_as_they_are():
    onnx = pytest.importorskip("onnx")
    fine, coarse = np.full(20, 0.1, np.float32), np.full(20, 0.5, np.float32)
    given = [onnx.numpy_helper.from_array(values, name) for name, values in (("fine", fine), ("coarse", coarse))]
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], given))
    networks.halve_weights(model)
    assert {w.name: w.data_type for w in model.graph.initializer} == {"fine": 1, "coarse_half": 10}
    assert [(node.op_type, *node.input, *node.output) for node in model.graph.node] == [
        ("Cast", "coarse_half", "coarse")
    ]


def test_bytes_come_back_from_the_script_that_holds_them(tmp_path):
    data = bytes(range(256)) * 3
    assets.put(tmp_path, "x", data)
    name, text = (tmp_path / "x.js").read_text("ascii").removeprefix("LIVE.put(").removesuffix(");\n").split(", ")
    assert (name, gzip.decompress(base64.b64decode(text.strip('"')))) == ('"x"', data)


@pytest.mark.parametrize("lacking", ["npm", "onnx", "a network"])
def test_what_is_lacking_is_said_and_nothing_is_left(tmp_path, monkeypatch, lacking):
    monkeypatch.setattr(assets.shutil, "which", lambda name: None if lacking == "npm" else "/usr/bin/false")
    monkeypatch.setattr(assets, "find_spec", lambda name: None if lacking == name else "found")
    said = assets.make(tmp_path / "assets" / "live")
    assert {"npm": "apt-get install npm", "onnx": "No onnx (pip install)", "a network": "could not fetch"}[
        lacking
    ] in said
    assert not (tmp_path / "assets" / "live").exists()
    assert not list(tmp_path.rglob("*.js"))


def test_what_is_there_is_not_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(assets.npm, "files", lambda package, members: pytest.fail("npm was asked"))
    (tmp_path / "fingerprint").write_text(assets.fingerprint())
    assert assets.make(tmp_path) == ""


def test_what_was_made_of_other_files_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(assets.shutil, "which", lambda name: None)
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "fingerprint").write_text("another")
    assert "No npm" in assets.make(tmp_path / "live")
    assert not (tmp_path / "live").exists()


def test_the_fingerprint_changes_with_a_script(tmp_path, monkeypatch):
    shutil.copytree(assets.HERE, tmp_path / "live")
    monkeypatch.setattr(assets, "HERE", tmp_path / "live")
    before = assets.fingerprint()
    (tmp_path / "live" / "experiments" / "paint.js").write_text("// changed")
    assert assets.fingerprint() != before


def test_streets_have_a_car_to_paint_and_labels_that_the_palette_knows():
    shown = assets.streets()
    for street in shown["streets"]:
        labels = np.frombuffer(base64.b64decode(street["labels"]), np.uint8)
        assert labels.shape == (shown["side"] ** 2,)
        assert (labels == shown["classes"].index("car")).mean() > assets.LARGE
        assert set(labels.tolist()) <= {*range(len(shown["palette"])), 255}
    assert len(shown["streets"]) == assets.STREETS


def test_an_object_lies_within_its_box_and_is_as_sharp_as_its_mask():
    for street in sprites.streets():
        assert {one["size"] for one in street["sprites"] if one["name"] in sprites.FIRST} == set(sprites.SIZES)
        for one in street["sprites"]:
            mask, (height, width) = one["mask"], one["pixels"].shape[:2]
            assert mask.any(0).all()
            assert mask.any(1).all()
            assert one["sharp"].shape == (sprites.SHARP * height, sprites.SHARP * width, 4)
            shown = Image.fromarray(one["sharp"][..., 3]).resize((width, height), Image.Resampling.BOX)
            assert ((np.asarray(shown) > 127) != mask).mean() < 0.15


def test_what_is_pasted_covers_the_street_and_is_cut_off_at_the_border():
    street = np.zeros((8, 8, 3), np.uint8)
    one = {"mask": np.eye(3, dtype=bool), "pixels": np.full((3, 3, 3), 9, np.uint8)}
    made = sprites.pasted(street, [(one, 6, -1)])
    assert np.argwhere(made[..., 0]).tolist() == [[7, 0]]
    assert not street.any()


def test_each_experiment_has_a_section_a_network_and_a_builder():
    script = assets.scripts()
    named = {path.name[:2]: nbformat.read(path, 4) for path in NOTEBOOKS.glob("*.ipynb")}
    entries = places.experiments()
    for name, entry in entries.items():
        headings = [
            h for c in named[entry["notebook"]].cells if c.cell_type == "markdown" for h in places.pages.headings(c)
        ]
        assert entry["after"] in headings
        assert f'LIVE.experiment("{name}"' in script
        assert set(entry["networks"]) <= set(networks.NETWORKS)
        assert entry["data"] in assets.DATA
        assert f'LIVE.json("{entry["data"]}")' in script
    assert {network for entry in entries.values() for network in entry["networks"]} == set(networks.NETWORKS)
    assert script.count("\nLIVE.experiment(") == len(entries)


def test_nothing_moves_by_itself():
    """So there is nothing to stop for people who asked their system for reduced motion."""
    style = (assets.HERE.parent / "_static" / "live.css").read_text("utf-8")
    for word in ("requestAnimationFrame", "setInterval", ".animate(", "animation", "transition", "smooth"):
        assert word not in (assets.scripts() + style).replace("imageSmoothing", "")


def planted():
    cells = [
        new_markdown_cell("# 04 · U\n\nText.\n\n### Ask a single pixel\n\nWhy?"),
        new_code_cell("1"),
        new_markdown_cell("So.\n\n## Next\n\n### Which skip connection is missed most?"),
        new_code_cell("2"),
        new_markdown_cell("Last."),
    ]
    return new_notebook(cells=cells)


def test_an_experiment_stands_before_the_next_heading_and_cells_keep_their_numbers():
    notebook = planted()
    places.place({"04_unet": notebook}, runs=True)
    assert [cell.cell_type for cell in notebook.cells] == ["markdown", "code", "markdown", "code", "markdown"]
    text = notebook.cells[2].source
    assert text.index("So.") < text.index('data-live="paint"') < text.index("## Next")
    assert 'data-live="skips"' in notebook.cells[4].source


def test_scripts_come_once_and_only_where_something_runs():
    running, still = planted(), planted()
    places.place({"04_unet": running}, runs=True)
    places.place({"04_unet": still}, runs=False)
    both = ["\n".join(cell.source for cell in notebook.cells) for notebook in (running, still)]
    assert [text.count("live.js") for text in both] == [1, 0]
    assert [text.count("nothing runs here") for text in both] == [0, 2]
    assert [text.count("data:image/png") for text in both] == [2, 2]


def test_a_section_that_is_not_there_is_an_error():
    notebook = new_notebook(cells=[new_markdown_cell("# 04 · U\n\n## Other")])
    with pytest.raises(ValueError, match="heading: got 'Ask a single pixel', expected one of 04 · U"):
        places.place({"04_unet": notebook}, runs=True)


def test_the_playground_has_every_experiment_and_its_scripts_once():
    page = places.playground(runs=True)
    for name, entry in places.experiments().items():
        assert page.count(f'data-live="{name}"') == 1
        assert f"## {entry['title']}" in page
    assert page.count("live.js") == 1
    assert "http" not in page
