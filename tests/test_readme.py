"""README.md is true: its package map, its table of notebooks, its commands and its links."""

import importlib
import re
import shlex
from pathlib import Path

import pages
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("lecture_utils", "lecture_course")
README = (ROOT / "README.md").read_text("utf-8")
MAPS = {name: re.search(rf"^{name}/\n(.*?)^```", README, re.MULTILINE | re.DOTALL)[1] for name in PACKAGES}
PAGES = {path.name: path.read_text("utf-8") for path in (ROOT / "README.md", *(ROOT / "handouts").glob("*.md"))}
WORD = r"[\w./=-]+"
COMMANDS = [
    (name, package, command)
    for name, text in PAGES.items()
    for package, command in re.findall(rf"-m (lecture_utils|lecture_course) ({WORD}(?: {WORD})*)", text)
]
LINKS = [
    (name, link)
    for name, text in PAGES.items()
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    if not re.fullmatch(r"(?:slides|claims|glossary|symbols|timing|playground)\.md", link)  # pages that are gathered
]


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_map_names_exists(package):
    for name in re.findall(r"[\w/]+/(?= )|\w+\.py", MAPS[package]):
        assert (ROOT / package / name).exists() or [*(ROOT / package).rglob(name)], name


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_map_names_every_module_and_sub_package(package):
    folder = ROOT / package
    there = {path.name for path in folder.glob("*.py")}
    there |= {
        f"{path.parent.name}/" for path in folder.glob("*/__init__.py") if not re.match(r"nb\d\d", path.parent.name)
    }
    assert there - {"__init__.py"} <= set(re.findall(r"\w+/|\w+\.py", MAPS[package]))


def test_the_table_names_every_notebook_in_order():
    named = re.findall(r"^\| `(\d\d_\w+)` \|", README, re.MULTILINE)
    assert [name[:2] for name in named] == sorted({slide["notebook"] for slide in pages.slides().values()})
    assert {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} <= set(named)


def test_the_table_names_every_slide():
    cells = re.findall(r"^\| `\d\d_\w+` \|.*\| ([\d, –]+) \|$", README, re.MULTILINE)
    ranges = [re.findall(r"\d+", part) for cell in cells for part in cell.split(",")]
    named = {number for first, *last in ranges for number in range(int(first), int((last or [first])[0]) + 1)}
    assert named == {int(number[:2]) for number in pages.slides()}


@pytest.mark.parametrize(("page", "package", "command"), COMMANDS)
def test_a_command_is_understood(page, package, command):
    importlib.import_module(f"{package}.__main__").parser().parse_args(shlex.split(command))


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE))))
def test_what_make_is_asked_for_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_a_link_leads_to_a_file(page, link):
    folder = ROOT if page == "README.md" else ROOT / "handouts"
    assert (folder / link).exists()
