"""handouts/build.py and conf.py: the site without a browser, and what is said when a tool is missing."""

import html
import io
import json
import re
import subprocess
import tarfile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="
BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/x)"
)


def notebook(path, *cells):
    title = new_markdown_cell(f"# On {path.stem}\n\n{BADGE}")
    nbformat.write(new_notebook(cells=[title, *cells], metadata={"language_info": {"name": "python"}}), path)
    return path


def test_renders_stored_outputs_without_pdf_where_there_is_no_browser(build, tmp_path, monkeypatch, capfd):
    (tmp_path / "in").mkdir()
    picture = new_output(
        "display_data", {"image/png": PIXEL}, metadata={"image/png": {"alt": "one grey pixel", "width": 9}}
    )
    card = new_output("execute_result", {"text/html": "<b>held here</b>", "text/plain": "plain"}, execution_count=1)
    notebook(tmp_path / "in" / "01_a.ipynb", new_code_cell("show()", outputs=[picture, card], execution_count=1))
    notebook(tmp_path / "in" / "02_b.ipynb")
    monkeypatch.setattr(build, "find_chromium", lambda: None)
    monkeypatch.setattr(build, "fetch_mathjax", lambda assets: "")
    monkeypatch.setattr(build.assets, "make", lambda folder: "")
    arguments = ["--notebooks", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--no-execute"]

    assert build.main(arguments) == 0

    said = capfd.readouterr()
    assert "apt-get install chromium" in said.out
    assert "html/index.html" in said.out
    assert said.err == ""
    assert not (tmp_path / "out" / "pdf").exists()
    index = (tmp_path / "out" / "html" / "index.html").read_text("utf-8")
    assert index.index("On 01_a") < index.index("On 02_b")
    assert "/pdf/" not in index
    page = (tmp_path / "out" / "html" / "notebooks" / "01_a.html").read_text("utf-8")
    assert 'alt="one grey pixel"' in page
    assert "<b>held here</b>" in page
    assert "plain" not in page
    assert "Open in Colab" in page
    # The badge's image is gone, its link is not; nothing else is loaded from anywhere.
    assert "https://colab.research.google.com/x" in page
    assert not re.findall(r"""(?:src|<link[^>]*href)=["']https?:""", page)
    assert "not executed" in (tmp_path / "out" / "html" / "timing.html").read_text("utf-8")

    # A warning is an error, and the good site stays.
    notebook(tmp_path / "in" / "02_b.ipynb", new_markdown_cell("[nowhere](missing.md)"))
    with pytest.raises(SystemExit, match="not replaced"):
        build.main(arguments)
    assert "missing.md" in capfd.readouterr().err
    assert (tmp_path / "out" / "html" / "index.html").read_text("utf-8") == index


def test_each_picture_of_a_cell_has_its_own_alternative_text(build, tmp_path, monkeypatch):
    def picture(kind, alt):
        return new_output("display_data", {kind: PIXEL}, metadata={kind: {"alt": alt} if alt else {}})

    png, jpeg = "image/png", "image/jpeg"
    cells = {
        "two": [picture(png, "first of two"), picture(png, "second <of> two")],
        "three": [picture(png, "first of three"), picture(jpeg, "second of three"), picture(png, "third of three")],
        "some": [picture(png, "described"), picture(png, ""), new_output("stream", text="text")],
    }
    (tmp_path / "in").mkdir()
    notebook(
        tmp_path / "in" / "01_a.ipynb",
        *(new_code_cell(name, outputs=outputs, execution_count=1) for name, outputs in cells.items()),
    )
    monkeypatch.setattr(build, "fetch_mathjax", lambda assets: "")
    monkeypatch.setattr(build.assets, "make", lambda folder: "")
    arguments = ["--notebooks", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--no-execute", "--no-pdf"]

    assert build.main(arguments) == 0

    page = (tmp_path / "out" / "html" / "notebooks" / "01_a.html").read_text("utf-8")
    texts = [html.unescape(alt) for alt in re.findall(r'<img alt="([^"]*)"[^>]*_images', page)]
    said = ["first of two", "second <of> two", "first of three", "second of three", "third of three", "described"]
    assert [text for text in texts if not text.startswith("_images") and text] == said
    assert len(texts) == len(said) + 1


def test_nbconverts_classic_template_keeps_alternative_texts():
    """As handouts/teaching.md says; its default template drops them."""
    nbconvert = pytest.importorskip("nbconvert")
    pictures = [
        new_output("display_data", {"image/png": PIXEL}, metadata={"image/png": {"alt": alt}}) for alt in ("one", "two")
    ]
    page = new_notebook(cells=[new_code_cell("show()", outputs=pictures)])
    text, _ = nbconvert.HTMLExporter(template_name="classic").from_notebook_node(page)
    assert re.findall(r'<img alt="([^"]*)"', text) == ["one", "two"]


def test_the_old_pdfs_stay_until_all_new_ones_are_printed(build, tmp_path, monkeypatch):
    (tmp_path / "pdf").mkdir()
    (tmp_path / "pdf" / "a.pdf").write_text("old")

    def chromium(command, **options):
        (target,) = (Path(part.partition("=")[2]) for part in command if part.startswith("--print-to-pdf="))
        if target.stem == slow:
            raise subprocess.TimeoutExpired(command, 300)
        target.write_text("new")
        return subprocess.CompletedProcess(command, 0, stderr="")

    monkeypatch.setattr(build.subprocess, "run", chromium)
    slow = "b"
    with pytest.raises(SystemExit, match=r"chromium was not done with b\.html in 300 s"):
        build.print_all("chromium", ["a", "b"], tmp_path)
    assert [(path.name, path.read_text()) for path in (tmp_path / "pdf").iterdir()] == [("a.pdf", "old")]
    slow = ""
    build.print_all("chromium", ["a", "b"], tmp_path)
    assert {path.name: path.read_text() for path in (tmp_path / "pdf").iterdir()} == {"a.pdf": "new", "b.pdf": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["pdf"]


def test_no_notebooks_is_said(build, tmp_path):
    with pytest.raises(SystemExit, match="no notebooks"):
        build.main(["--notebooks", str(tmp_path), "--no-execute"])


def test_a_failing_notebook_stops_before_rendering(build, tmp_path, monkeypatch):
    notebook(tmp_path / "a.ipynb")
    (tmp_path / "html").mkdir()
    monkeypatch.setattr(build.subprocess, "run", lambda command, **options: subprocess.CompletedProcess(command, 1))
    with pytest.raises(SystemExit, match="nothing was rendered"):
        build.main(["--notebooks", str(tmp_path), "--out", str(tmp_path)])
    assert (tmp_path / "html").exists()


@pytest.mark.parametrize("name", ["notebooks", "source", "html", "pdf"])
def test_a_folder_of_somebody_else_is_left_alone(build, tmp_path, name):
    notebook(tmp_path / "a.ipynb")
    theirs = tmp_path / "out" / name / "thesis.txt"
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    with pytest.raises(SystemExit, match=f"out holds {name} that are no handouts; choose another folder"):
        build.main(["--notebooks", str(tmp_path), "--out", str(tmp_path / "out")])
    assert theirs.exists()


def test_mathjax_needs_npm_and_says_so(build, tmp_path, monkeypatch):
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    assert "apt-get install npm" in build.fetch_mathjax(tmp_path / "assets")
    assert not (tmp_path / "assets").exists()


def test_mathjax_is_left_alone_when_npm_fails(build, tmp_path, monkeypatch):
    monkeypatch.setattr(build.shutil, "which", lambda name: "npm")
    monkeypatch.setattr(build.subprocess, "run", lambda command, **options: subprocess.CompletedProcess(command, 1))
    assert "public address" in build.fetch_mathjax(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_mathjax_is_unpacked_once(build, tmp_path, monkeypatch):
    calls = []

    def pack(command, *, cwd, **options):
        calls.append(command)
        with tarfile.open(f"{cwd}/mathjax-3.9.9.tgz", "w:gz") as archive:
            for name in ("package/es5/tex-svg.js", "package/LICENSE", "package/es5/other.js"):
                member = tarfile.TarInfo(name)
                member.size = len(name)
                archive.addfile(member, io.BytesIO(name.encode()))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(build.shutil, "which", lambda name: "npm")
    monkeypatch.setattr(build.subprocess, "run", pack)
    assert build.fetch_mathjax(tmp_path) == ""
    assert build.fetch_mathjax(tmp_path) == ""
    assert len(calls) == 1
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")) == ["mathjax/tex-svg.js"]
    assert (tmp_path / "mathjax" / "tex-svg.js").read_text() == "package/es5/tex-svg.js"


def test_html_that_would_fetch_something_is_warned_of(conf, monkeypatch):
    from docutils import nodes
    from docutils.utils import new_document

    warned = []
    monkeypatch.setattr(
        conf.logging, "getLogger", lambda name: type("", (), {"warning": lambda *said, **where: warned.append(said)})
    )
    page = new_document("page")
    page += nodes.raw("", '<script src="https://example.org/x.js"></script>', format="html")
    page += nodes.raw("", '<img src="data:image/png;base64,AAAA">', format="html")
    conf.keep_offline(None, page)
    assert len(warned) == 1


def test_timings_survive_a_render_without_execution(build, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "fetch_mathjax", lambda assets: "")
    monkeypatch.setattr(build.assets, "make", lambda folder: "")
    pages = {}
    monkeypatch.setattr(
        build, "render", lambda source, html, printed: pages.update(timing=(source / "timing.md").read_text())
    )
    machine = {"system": "Linux", "cores": 2, "python": "3", "torch": "2", "date": "2026-01-01"}
    timings = {"machine": machine, "notebooks": {"a": {"seconds": 3, "peak_mib": 4}}}
    (tmp_path / "timings.json").write_text(json.dumps(timings))
    notebook(tmp_path / "a.ipynb")
    build.main(["--notebooks", str(tmp_path), "--out", str(tmp_path), "--no-execute", "--no-pdf"])
    assert "| [](notebooks/a.ipynb) | 3 | 4 | 0 |" in pages["timing"]
