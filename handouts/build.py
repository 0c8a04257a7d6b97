"""Render the notebooks as handouts: a site that needs no network in handouts/_build/html, and a PDF of each notebook.

    python handouts/build.py                  execute the notebooks, then render them
    python handouts/build.py --no-execute     render the committed outputs

A page is a Markdown file beside this one that index.md names, or is gathered from the notebooks by pages.py.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import npm
import pages
from live import assets, places

from lecture_utils.doctor import find_chromium

HERE = Path(__file__).resolve().parent
BUILD = HERE / "_build"
MARK = ".handouts"  # in a folder of handouts, which may be made again
# Nothing but the page: a browser just started otherwise asks its maker for updates.
BROWSER_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def fetch_mathjax(assets: Path) -> str:
    """Put MathJax 3 from npm into `assets` unless it is there; return a sentence when that cannot be done, else ""."""
    target, members = assets / "mathjax", ("es5/tex-svg.js", "LICENSE")  # one file holds parser, renderer and glyphs
    if target.exists():
        return ""
    try:
        contents = npm.files("mathjax@3", members)
    except npm.Missing as lack:
        return f"{lack}: mathematics is loaded from its public address, not from the handout."
    assets.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=assets) as folder:
        (Path(folder) / "mathjax").mkdir()
        for member, data in zip(members, contents, strict=True):
            (Path(folder) / "mathjax" / Path(member).name).write_bytes(data)
        os.replace(Path(folder) / "mathjax", target)
    return ""


def stage(paths: list[Path], source: Path, timings: dict, *, with_pdf: bool, live: bool) -> None:
    """Lay out in `source` what Sphinx reads: the Markdown pages, the notebooks, and the pages gathered from them.

    With `live` the experiments run, else they are pictures.
    """
    shutil.rmtree(source, ignore_errors=True)
    (source / "notebooks").mkdir(parents=True)
    shutil.copy(HERE / "course.html", source)
    notebooks = {path.stem: nbformat.read(path, as_version=4) for path in paths}
    for page in HERE.glob("*.md"):
        (source / page.name).write_text(pages.linked(page.read_text("utf-8"), notebooks), "utf-8")
    gathered = {
        "_notebooks": pages.contents(notebooks, with_pdf=with_pdf),
        "claims": pages.claims_page(notebooks),
        "slides": pages.slides_page(notebooks),
        "glossary": pages.glossary_page(notebooks),
        "symbols": pages.symbols_page(notebooks),
        "timing": pages.timing_page(notebooks, timings),
        "playground": places.playground(runs=live),
    }
    for name, text in gathered.items():
        (source / f"{name}.md").write_text(text, encoding="utf-8")
    places.place(notebooks, runs=live)
    for name, notebook in notebooks.items():
        nbformat.write(notebook, source / "notebooks" / f"{name}.ipynb")


def render(source: Path, html: Path, printed: list[str]) -> None:
    """Run Sphinx; a warning is an error, and only a site without one takes the place of the last."""
    with tempfile.TemporaryDirectory(dir=html.parent) as work:
        partial = Path(work) / "html"
        command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", "-c", HERE]
        command += ["-d", Path(work) / "doctrees", "-A", f"printed_pages={','.join(printed)}", source, partial]
        if subprocess.run(list(map(str, command))).returncode:
            raise SystemExit("Sphinx warned or failed (above); the site was not replaced.")
        shutil.rmtree(html, ignore_errors=True)
        os.replace(partial, html)


def print_pdf(browser: str, page: Path, pdf: Path) -> None:
    """Print a page of the site as Chromium lays it out on paper."""
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, *BROWSER_FLAGS, f"--user-data-dir={profile}", "--no-pdf-header-footer"]
        # Mathematics is typeset by a script: give it (virtual) time before printing.
        command += ["--virtual-time-budget=30000", f"--print-to-pdf={pdf}", page.resolve().as_uri()]
        try:
            printed = subprocess.run(command, capture_output=True, text=True, timeout=300)
        except subprocess.TimeoutExpired:
            raise SystemExit(f"{browser} was not done with {page.name} in 300 s.") from None
    if printed.returncode or not pdf.exists():
        raise SystemExit(f"{browser} could not print {page.name}:\n{printed.stderr}")


def print_all(browser: str, names: list[str], out: Path) -> None:
    """Print the page of each notebook; the PDFs take the place of the last ones when all are there."""
    with tempfile.TemporaryDirectory(dir=out) as work:
        (Path(work) / "pdf").mkdir()
        for name in names:
            print_pdf(browser, out / "html" / "notebooks" / f"{name}.html", Path(work) / "pdf" / f"{name}.pdf")
        shutil.rmtree(out / "pdf", ignore_errors=True)
        os.replace(Path(work) / "pdf", out / "pdf")


def _claim(out: Path) -> None:
    """Refuse a folder in which somebody else's would be replaced, before anything is; mark it as one of handouts."""
    there = [name for name in ("notebooks", "source", "html", "pdf") if any((out / name).glob("*"))]
    if there and out != BUILD and not (out / MARK).exists():
        raise SystemExit(f"{out} holds {', '.join(there)} that are no handouts; choose another folder with --out.")
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()


def main(arguments: list[str] | None = None) -> int:
    """Build the handouts; 0 when all went well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--notebooks", type=Path, default=HERE.parent / "notebooks", help="folder of the notebooks")
    parser.add_argument("--out", type=Path, default=BUILD, help="folder of the results")
    parser.add_argument("--no-execute", action="store_true", help="render the outputs stored in the notebooks")
    parser.add_argument("--no-pdf", action="store_true", help="leave the PDFs out")
    options = parser.parse_args(arguments)

    start = time.perf_counter()
    notebooks, out = sorted(options.notebooks.resolve().glob("*.ipynb")), options.out.resolve()
    if not notebooks:
        raise SystemExit(f"There are no notebooks in {options.notebooks}.")
    _claim(out)
    timings_file = out / "timings.json"
    if not options.no_execute:
        executed = out / "notebooks"
        shutil.rmtree(executed, ignore_errors=True)
        command = [sys.executable, HERE / "execute.py", *notebooks, "--out", executed, "--timings", timings_file]
        if subprocess.run(list(map(str, command))).returncode:
            raise SystemExit("A notebook failed (above); nothing was rendered.")
        notebooks = [executed / path.name for path in notebooks]
    timings = json.loads(timings_file.read_text(encoding="utf-8")) if timings_file.exists() else {}

    browser = None if options.no_pdf else find_chromium()
    sentences = [fetch_mathjax(BUILD / "assets"), assets.make(BUILD / "assets" / "live")]
    live = (BUILD / "assets" / "live").exists()
    stage(notebooks, out / "source", timings, with_pdf=browser is not None, live=live)
    render(out / "source", out / "html", [f"notebooks/{path.stem}" for path in notebooks] if browser else [])
    if browser:
        print_all(browser, [path.stem for path in notebooks], out)
    else:
        shutil.rmtree(out / "pdf", ignore_errors=True)  # of other pages than these
    if not browser and not options.no_pdf:
        sentences.append("No Chromium (apt-get install chromium): the PDFs were left out.")
    print(*filter(None, sentences), sep="\n", end="\n" * any(sentences))
    print(f"Handouts in {time.perf_counter() - start:.0f} s: open {out / 'html' / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
