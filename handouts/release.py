"""Gather a version of the course for those who have no checkout, in dist/VERSION:

wheels/…              the course and what Colab and Kaggle lack
notebooks-VERSION.zip the notebooks without outputs, which install just that version
handouts-VERSION.zip  the site and the PDFs; open html/index.html
SHA256SUMS            of each file; check with: sha256sum --check SHA256SUMS

python handouts/release.py --check VERSION    says what speaks against it, before the site is made
python handouts/release.py VERSION            after `make handouts`, which makes the site
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import platforms

ROOT = platforms.ROOT
SITE = ROOT / "handouts" / "_build"


def check(version: str, target: Path) -> None:
    """ValueError with what speaks against a release: it would not be what it says, or take the place of another."""
    ours = platforms.project()["project"]["version"]
    if version != ours:
        raise ValueError(
            f"VERSION: got {version!r}, expected {ours!r}, which pyproject.toml has. For a new version, change it "
            "there and in lecture_utils/__init__.py, then run: python handouts/platforms.py cells"
        )
    if target.exists():
        raise ValueError(f"{target} is there already; remove it to make that release again")
    if changed := _git("status", "--porcelain"):
        raise ValueError(f"expected a checkout without changes, or nobody can make this release again; got:\n{changed}")


def _git(*command: str) -> str:
    done = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{ROOT}: expected a git checkout, got: {done.stderr.strip()}")
    return done.stdout.rstrip()


def gather(version: str, target: Path, site: Path) -> list[Path]:
    """Make all files of the release and put them in place together; their paths within `target`."""
    if not (site / "html" / "index.html").exists():
        raise ValueError(f"{site} holds no site; run: make handouts")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        folder, light = Path(work) / "release", Path(work) / "light"
        platforms.make_folder(folder / "wheels")
        platforms.write_light(light)
        shutil.make_archive(str(folder / f"notebooks-{version}"), "zip", light)
        pages = Path(work) / "pages"
        for part in ("html", "pdf"):  # without a browser there are no PDFs
            if (site / part).exists():
                shutil.copytree(site / part, pages / part)
        shutil.make_archive(str(folder / f"handouts-{version}"), "zip", pages)
        files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        sums = [f"{hashlib.sha256((folder / file).read_bytes()).hexdigest()}  {file.as_posix()}\n" for file in files]
        (folder / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
        os.replace(folder, target)
    return [*files, Path("SHA256SUMS")]


def main(arguments: list[str]) -> int:
    only_check, (version, *others) = arguments[:1] == ["--check"], [a for a in arguments if a != "--check"] or [""]
    if not version or others:
        print("Name the version: make release VERSION=0.1.0")
        return 2
    target = ROOT / "dist" / version
    check(version, target)
    if only_check:
        return 0
    for file in gather(version, target, SITE):
        print(f"{(target / file).stat().st_size / 1e6:8.2f} MB  {target.relative_to(ROOT) / file}")
    print(f"of commit {_git('rev-parse', 'HEAD')}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (ValueError, OSError) as problem:
        sys.exit(str(problem))
