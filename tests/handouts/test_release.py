"""What a release is made of, and what speaks against making one."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import platforms
import pytest
import release

VERSION = platforms.project()["project"]["version"]


@pytest.fixture
def site(tmp_path):
    """A site as build.py leaves it, and beside it what no reader needs."""
    for name in ("html/index.html", "pdf/00.pdf", "source/index.md"):
        (tmp_path / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / name).write_text(name)
    return tmp_path / "site"


@pytest.fixture
def wheels(monkeypatch):
    """No network is needed here: test_wheel and test_platforms make the real ones."""

    def make_folder(folder):
        folder.mkdir(parents=True)
        (folder / "course.whl").write_bytes(b"wheel")

    monkeypatch.setattr(platforms, "make_folder", make_folder)


@pytest.fixture
def clean(monkeypatch):
    monkeypatch.setattr(release, "_git", lambda *command: "")


def test_a_release_has_wheels_notebooks_pages_and_their_checksums(tmp_path, site, wheels):
    target = tmp_path / "dist" / VERSION
    files = release.gather(VERSION, target, site)
    assert {path.as_posix() for path in files} == {
        f"handouts-{VERSION}.zip",
        f"notebooks-{VERSION}.zip",
        "wheels/course.whl",
        "SHA256SUMS",
    }
    assert [path.name for path in target.parent.iterdir()] == [VERSION]  # nothing half-made stays
    assert set(zipfile.ZipFile(target / f"handouts-{VERSION}.zip").namelist()) >= {"html/index.html", "pdf/00.pdf"}
    assert not any("source" in name for name in zipfile.ZipFile(target / f"handouts-{VERSION}.zip").namelist())
    for line in (target / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((target / name).read_bytes()).hexdigest() == digest


def test_its_notebooks_have_no_outputs_and_install_this_version(tmp_path, site, wheels):
    release.gather(VERSION, tmp_path / VERSION, site)
    with zipfile.ZipFile(tmp_path / VERSION / f"notebooks-{VERSION}.zip") as archive:
        assert len(archive.namelist()) == 14
        for name in archive.namelist():
            code = [cell for cell in nbformat.reads(archive.read(name).decode(), 4).cells if cell.cell_type == "code"]
            assert not any(cell.outputs for cell in code)
            assert f"lecture_utils=={VERSION}" in code[0].source
            assert f"computer vision {VERSION}" in code[0].source


def test_another_version_than_the_packages_is_refused(tmp_path, clean):
    with pytest.raises(ValueError, match=f"got '9.9.9', expected '{VERSION}'"):
        release.check("9.9.9", tmp_path / "9.9.9")


def test_a_release_is_never_replaced(tmp_path, clean):
    with pytest.raises(ValueError, match="is there already"):
        release.check(VERSION, tmp_path)


def test_a_changed_checkout_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(release, "_git", lambda *command: " M README.md")
    with pytest.raises(ValueError, match=r"M README\.md"):
        release.check(VERSION, tmp_path / VERSION)


def test_what_is_no_checkout_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(release, "ROOT", tmp_path)
    with pytest.raises(ValueError, match="expected a git checkout"):
        release.check(VERSION, tmp_path / VERSION)


def test_without_a_site_nothing_is_made(tmp_path, wheels):
    with pytest.raises(ValueError, match="make handouts"):
        release.gather(VERSION, tmp_path / VERSION, tmp_path / "none")
    assert not (tmp_path / VERSION).exists()


def test_what_fails_leaves_no_release(tmp_path, site, monkeypatch):
    def fail(folder):
        raise OSError("pip could not make the wheels; is there a network?")

    monkeypatch.setattr(platforms, "make_folder", fail)
    with pytest.raises(OSError, match="network"):
        release.gather(VERSION, tmp_path / VERSION, site)
    assert not (tmp_path / VERSION).exists()


@pytest.mark.parametrize("arguments", [[], [""], ["--check"], ["--check", ""], ["1", "2"]])
def test_without_a_version_it_says_how_to_call_it(arguments):
    done = subprocess.run([sys.executable, Path(release.__file__), *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert "make release VERSION=" in done.stdout
