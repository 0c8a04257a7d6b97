"""handouts/execute.py: what it leaves in a notebook, and what it does when a cell fails."""

import json
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

VIEW = "application/vnd.jupyter.widget-view+json"


def write(path, *sources):
    # A kernel that nobody has: the one of the running interpreter is used whatever the notebook names.
    metadata = {"kernelspec": {"name": "elsewhere", "display_name": "Elsewhere", "language": "python"}}
    cells = [new_markdown_cell("# Title"), *map(new_code_cell, sources)]
    nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
    return path


def test_executes_in_place_and_twice_gives_the_same_bytes(execute, tmp_path, capfd):
    path = write(
        tmp_path / "a.ipynb",
        "import sys\nfrom pathlib import Path\n\nsys.executable == EXECUTABLE and Path('a.ipynb').exists()".replace(
            "EXECUTABLE", "''.join(map(chr, " + str(list(map(ord, sys.executable))) + "))"
        ),
        "",
        "print('one')\nprint('two')\nsys.stderr.write('10%|#|\\r100%|##|\\nold\\n')\nprint('three')",
    )
    ids = [cell.id for cell in nbformat.read(path, as_version=4).cells]
    timings = tmp_path / "timings.json"
    timings.write_text(json.dumps({"notebooks": {"earlier": {"seconds": 5, "peak_mib": 7}}}))

    large = bytearray(b"1") * 2**30  # what the tests hold is none of the notebook's peak
    assert execute.main([str(path), "--inplace", "--timings", str(timings)]) == 0
    del large

    first = path.read_bytes()
    notebook = nbformat.read(path, as_version=4)
    assert [cell.id for cell in notebook.cells] == ids
    _, answer, empty, streams = notebook.cells
    assert answer.outputs[0].data["text/plain"] == "True"
    assert (answer.execution_count, answer.outputs[0].execution_count) == (1, 1)
    assert (empty.execution_count, streams.execution_count) == (None, 2)
    assert [(output.name, output.text) for output in streams.outputs] == [
        ("stderr", "old\n"),
        ("stdout", "one\ntwo\nthree\n"),
    ]
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.language_info == {"name": "python"}
    measured = json.loads(timings.read_text())["notebooks"]
    assert measured["earlier"]["seconds"] == 5
    assert 0 < measured["a"]["seconds"] < 60
    assert 10 < measured["a"]["peak_mib"] < 1024 or sys.platform == "win32"
    assert "a " in capfd.readouterr().out

    assert execute.main([str(path), "--inplace", "--timings", str(timings)]) == 0
    assert path.read_bytes() == first


def test_a_failing_cell_is_shown_and_nothing_is_written(execute, tmp_path, capfd):
    path = write(tmp_path / "broken.ipynb", "print('fine')", "needle = 1\nneedle / 0")
    before = path.read_bytes()

    assert execute.main([str(path), "--inplace", "--timings", str(tmp_path / "timings.json")]) == 1

    said = capfd.readouterr().err
    assert "broken.ipynb" in said
    assert "needle / 0" in said
    assert "ZeroDivisionError" in said
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["broken.ipynb"]


def test_a_write_that_fails_leaves_nothing_behind(execute, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(execute.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        execute.write(new_notebook(), tmp_path / "a.ipynb")
    assert list(tmp_path.iterdir()) == []


def test_copies_take_the_place_of_copies_only(execute, tmp_path, capfd):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    path, theirs = write(tmp_path / "in" / "a.ipynb", "1"), write(tmp_path / "out" / "a.ipynb", "'mine'")
    before = path.read_bytes(), theirs.read_bytes()
    arguments = [str(path), "--timings", str(tmp_path / "timings.json"), "--out"]
    for out in ("out", "in"):
        with pytest.raises(SystemExit):
            execute.main([*arguments, str(tmp_path / out)])
        assert "would lose a.ipynb; choose another folder, or --inplace" in capfd.readouterr().err
    assert (path.read_bytes(), theirs.read_bytes()) == before
    for _ in range(2):
        assert execute.main([*arguments, str(tmp_path / "new")]) == 0
    assert path.read_bytes() == before[0]


def test_what_was_changed_while_it_ran_is_not_written_over(execute, tmp_path, capfd):
    path = tmp_path / "a.ipynb"
    write(path, "from pathlib import Path\nkept = Path('a.ipynb').write_text('edited')")
    assert execute.main([str(path), "--inplace", "--timings", str(tmp_path / "timings.json")]) == 1
    assert "a.ipynb: was changed while it ran; not written" in capfd.readouterr().err
    assert path.read_text() == "edited"


def test_paths_of_the_machine_are_not_stored(execute, tmp_path, capfd):
    path = write(tmp_path / "home.ipynb", "print('/' + 'Users' + '/me/data')")
    before = path.read_bytes()
    arguments = [str(path), "--timings", str(tmp_path / "timings.json")]

    assert execute.main([*arguments, "--inplace"]) == 1
    assert "/Users/me/data" in capfd.readouterr().err
    assert path.read_bytes() == before


def test_machine_paths_are_told_from_other_text(execute):
    def found(text):
        return execute.machine_paths(new_notebook(cells=[new_code_cell(text)]))

    assert found("open('/Users/me/x.png')") == ["cell 0: /Users/me/x.png"]
    assert found(r"open('C:\Users\me')")
    assert found("file:///Users/me")
    assert found(f"{execute.ROOT}/data")
    assert not found("https://example.org/Users/me and /kaggle/input and a/tmp/b and data/unet")
    picture = new_output("display_data", {"image/png": "/Users/me", "text/html": "<img src='data:;base64,AB /tmp/aa'>"})
    assert not execute.machine_paths(new_notebook(cells=[new_code_cell("", outputs=[picture])]))


def test_tidy_keeps_frames_and_drops_what_needs_a_kernel(execute):
    explorer = new_output("display_data", {VIEW: {"model_id": "1"}, "text/html": "<figure></figure>"})
    alone = new_output("display_data", {VIEW: {"model_id": "2"}})
    cell = new_code_cell(
        "show()", outputs=[explorer, alone], metadata={"execution": {"shell": "10:00"}, "tags": ["slide-09"]}
    )
    notebook = new_notebook(cells=[cell], metadata={"widgets": {"state": {}}, "jupytext": {"formats": "ipynb"}})

    execute.tidy(notebook)

    assert [output.data for output in cell.outputs] == [{"text/html": "<figure></figure>"}]
    assert cell.metadata == {"tags": ["slide-09"]}
    assert "widgets" not in notebook.metadata
    assert notebook.metadata.jupytext == {"formats": "ipynb"}


def test_tidy_does_not_move_text_across_a_picture(execute):
    picture = new_output("display_data", {"image/png": ""}, metadata={"image/png": {"width": 9}})
    before, after = (new_output("stream", name="stdout", text=text) for text in ("before\n", "after\n"))
    cell = new_code_cell("show()", outputs=[before, picture, after])

    execute.tidy(new_notebook(cells=[cell]))

    assert [output.get("text", output.get("metadata")) for output in cell.outputs] == [
        "before\n",
        {"image/png": {"width": 9}},
        "after\n",
    ]


def test_exercises_are_marked_for_nbgrader_when_stored(execute, tmp_path, capfd):
    path = write(tmp_path / "a.ipynb", "check = print\nanswer = ...", 'check("00.label_maps", answer)')
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].metadata.tags = ["exercise"]
    nbformat.write(notebook, path)
    arguments = [str(path), "--inplace", "--timings", str(tmp_path / "timings.json")]

    assert execute.main(arguments) == 0
    _, task, check = nbformat.read(path, as_version=4).cells
    assert task.metadata.nbgrader.grade_id == "00-label_maps"
    assert check.metadata.nbgrader.points > 0

    notebook.cells[2].source = "print(answer)"
    nbformat.write(notebook, path)
    before = path.read_bytes()
    assert execute.main(arguments) == 1
    assert "a.ipynb: not written: exercise: got no `check" in capfd.readouterr().err
    assert path.read_bytes() == before
