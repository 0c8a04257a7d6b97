"""The wheel: everything the notebooks need is in it, and nothing that was generated."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_the_wheel_carries_sample_and_checkpoints(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--quiet", "--wheel-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode and "hatchling" in done.stderr:
        pytest.skip("pip cannot fetch hatchling, which builds the wheel")
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("lecture_utils-*-py3-none-any.whl")  # pure Python
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in ("unet", "fcn", "pixel"):
        assert {f"lecture_utils/_data/checkpoints/{name}{end}" for end in (".safetensors", ".json")} <= names
    assert "lecture_utils/_data/sample/manifest_val.json" in names
    assert "lecture_utils/_data/selective_search.npz" in names
    assert "lecture_utils/_data/sample/cityscapes_data/val/32.jpg" in names
    assert {f"lecture_utils/{path.relative_to(ROOT / 'lecture_utils').as_posix()}"
            for path in (ROOT / "lecture_utils").rglob("*.py")} <= names  # fmt: skip
    assert not [name for name in names if "city-" in name.replace(".toy-city-", "") or "/tests/" in name]
