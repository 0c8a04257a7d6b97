"""README.md is true: its package map, its table of notebooks, its commands and its links."""

import re
import shlex
from pathlib import Path

import pages
import pytest

from lecture_utils.__main__ import parser

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lecture_utils"
README = (ROOT / "README.md").read_text("utf-8")
MAP = re.search(r"^lecture_utils/\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[1]
PAGES = {path.name: path.read_text("utf-8") for path in (ROOT / "README.md", *(ROOT / "handouts").glob("*.md"))}
WORD = r"[\w./=-]+"
COMMANDS = [
    (name, command)
    for name, text in PAGES.items()
    for command in re.findall(rf"-m lecture_utils ({WORD}(?: {WORD})*)", text)
]
LINKS = [
    (name, link)
    for name, text in PAGES.items()
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    if not re.fullmatch(r"(?:slides|claims|glossary|symbols|timing)\.md", link)  # pages that are gathered
]


def test_what_the_package_map_names_exists():
    for name in re.findall(r"[\w/]+/(?= )|\w+\.py", MAP):
        assert (PACKAGE / name).exists() or [*PACKAGE.rglob(name)], name


def test_the_package_map_names_every_module_and_sub_package():
    there = {path.name for path in PACKAGE.glob("*.py")} | {
        f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")
    }
    assert there - {"__init__.py"} <= set(re.findall(r"\w+/|\w+\.py", MAP))


def test_the_table_names_every_notebook_in_order():
    named = re.findall(r"^\| `(\d\d_\w+)` \|", README, re.MULTILINE)
    assert [name[:2] for name in named] == sorted({slide["notebook"] for slide in pages.slides().values()})
    assert {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} <= set(named)


def test_the_table_names_every_slide():
    cells = re.findall(r"^\| `\d\d_\w+` \|.*\| ([\d, –]+) \|$", README, re.MULTILINE)
    ranges = [re.findall(r"\d+", part) for cell in cells for part in cell.split(",")]
    named = {number for first, *last in ranges for number in range(int(first), int((last or [first])[0]) + 1)}
    assert named == {int(number[:2]) for number in pages.slides()}


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_command_is_understood(page, command):
    parser().parse_args(shlex.split(command))


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE))))
def test_what_make_is_asked_for_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_a_link_leads_to_a_file(page, link):
    folder = ROOT if page == "README.md" else ROOT / "handouts"
    assert (folder / link).exists()
