"""Files that are whole or not there, and what a writer that was killed leaves."""

import errno
import os
import signal
import subprocess
import sys
import threading

import pytest

from lecture_utils import files


@pytest.mark.parametrize("problem", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(problem, moment, tmp_path, monkeypatch):
    path = files.write(tmp_path / "a", b"old")

    def fail(*_):
        raise problem

    with monkeypatch.context() as patch:
        patch.setattr(os, moment, fail)
        with pytest.raises(type(problem)):
            files.write(path, b"new")
    assert os.listdir(tmp_path) == ["a"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("old", [True, False])
def test_a_full_disk_is_named_with_the_file_and_its_bytes(tmp_path, monkeypatch, number, old):
    if old:
        files.write(tmp_path / "a", b"old")

    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"a: cannot be written \(the disk is full: 12,345 bytes are needed, \d") as said:
        files.write(tmp_path / "a", bytes(12345))
    assert str(said.value).endswith("what was there before is whole" if old else "nothing was written")
    assert said.value.errno == number
    assert os.listdir(tmp_path) == (["a"] if old else [])


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_what_the_system_refuses_to_write_is_told(tmp_path):
    program = f"""
import resource
from lecture_utils import files
files.write({str(tmp_path / "a")!r}, b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    files.write({str(tmp_path / "a")!r}, bytes(10**6))
except OSError as problem:
    print(problem)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "a: cannot be written (the disk is full: 1,000,000 bytes are needed" in said.stdout, said
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("place", ["file/a", "file/deep/a"])
def test_a_place_where_nothing_can_be_written_is_named(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file/.*a: cannot be written"):
        files.write(tmp_path / place, b"x")


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    names = [".a.1.tmp", ".a.0f3b.tmp", ".a.notes.tmp", ".a.b.1.tmp", ".ab.1.tmp", "a", "a.tmp", ".a.swp", ".a..tmp"]
    for name in names:
        (tmp_path / name).touch()
    files.remove_temporary(tmp_path / "a")
    assert sorted(os.listdir(tmp_path)) == sorted(names[2:])
    files.remove_temporary(tmp_path / "nowhere" / "a")


def test_the_next_writer_removes_what_a_killed_one_left_but_no_living_one_s(tmp_path):
    (tmp_path / ".a.123.tmp").write_bytes(b"half")
    with files.prepared(tmp_path / "a", b"first") as slow:
        files.write(tmp_path / "a", b"second")  # in the middle of it, another one writes
        assert sorted(os.listdir(tmp_path)) == [slow.name, "a"]
        os.replace(slow, tmp_path / "a")
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"first"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 on this system")
def test_a_killed_writer_holds_nothing(tmp_path):
    program = f"""
import os, time
from lecture_utils import files
with files.prepared(files.Path({str(tmp_path / "a")!r}), b"half") as temporary:
    print(temporary, flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    left = process.stdout.readline().strip()
    files.remove_temporary(tmp_path / "a")
    assert os.path.exists(left)  # its writer lives
    process.kill()
    while process.poll() is None:
        pass
    files.remove_temporary(tmp_path / "a")
    assert os.listdir(tmp_path) == []
    process.stdout.close()


def test_many_writers_at_once_leave_one_whole_file(tmp_path):
    contents = [bytes([65 + number]) * 100_000 for number in range(8)]
    writers = [threading.Thread(target=files.write, args=(tmp_path / "a", content)) for content in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert (tmp_path / "a").read_bytes() in contents
    assert os.listdir(tmp_path) == ["a"]


def test_a_folder_is_told_from_what_can_be_none(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    for good in (tmp_path, tmp_path / "new" / "deep"):
        assert files.require_folder("out", good) == good
    for bad, what in (("file", "is a file"), ("file/x", "file is a file"), ("link", "is a link to nothing")):
        with pytest.raises(ValueError, match=f"out: expected a folder, got .*{what}"):
            files.require_folder("out", tmp_path / bad)
