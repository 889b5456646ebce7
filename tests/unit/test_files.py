"""Files are read up to a limit, and written whole or not at all, by nobody's link."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from triton_kit import files
from triton_kit.errors import SpecError
from triton_kit.files import (
    check_writable,
    copy_new,
    json_from,
    read_bytes,
    read_json,
    read_text,
    write_whole,
)
from triton_kit.loadtest.results.files import try_to_write, write_text

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")
NOBODY = 65534


@pytest.fixture
def umask():
    """Sets this process's umask until the test ends."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")

    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half \ud800")

    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to("file")

    write_whole(tmp_path / "link", "a\r\nb\n", executable=True)

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"a\r\nb\n"
    assert (tmp_path / "file").stat().st_mode & 0o111


@pytest.mark.parametrize("write", [write_whole, write_text])
def test_a_link_under_the_staged_name_is_not_followed(write, tmp_path):
    """The name was `.triton-kit-PID`, which another user can foresee."""
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / f".triton-kit-{os.getpid()}").symlink_to(victim)

    write(tmp_path / "file", "text")
    try_to_write(tmp_path / "other")

    assert victim.read_text() == "kept"
    assert (tmp_path / "file").read_text() == "text"


def test_the_staged_name_differs_each_time(tmp_path):
    names = set()
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", STAGE, tmp_path / "file"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            process.stdout.readline()
            names.update(path.name for path in tmp_path.iterdir())
            process.kill()
    assert len(names) == 3


STAGE = """
import pathlib, sys
from triton_kit import files
with files._staged(pathlib.Path(sys.argv[1])):
    print("staged", flush=True)
    input()
"""


@pytest.mark.parametrize("old", [0o600, 0o644, 0o755])
def test_a_replaced_file_keeps_its_mode(old, tmp_path):
    path = tmp_path / "file"
    path.touch()
    path.chmod(old)

    write_whole(path, "text")

    assert mode(path) == old


@pytest.mark.parametrize(
    ("mask", "executable", "expected"),
    [(0o022, False, 0o644), (0o077, False, 0o600), (0o027, True, 0o750)],
)
def test_a_new_file_obeys_the_umask(mask, executable, expected, tmp_path, umask):
    umask(mask)

    write_whole(tmp_path / "file", "text", executable=executable)

    assert mode(tmp_path / "file") == expected


def test_an_executable_file_can_be_run_by_its_readers_only(tmp_path):
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o640)

    write_whole(path, "text", executable=True)

    assert mode(path) == 0o750


@needs_root
def test_root_leaves_a_replaced_file_with_its_owner(tmp_path):
    path = tmp_path / "file"
    path.touch(0o600)
    os.chown(path, NOBODY, NOBODY)

    write_whole(path, "text")

    assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOBODY)


@needs_root
@pytest.mark.parametrize("where", ["file", "folder/file", "chain"])
def test_a_link_of_another_user_in_a_shared_folder_is_refused(where, tmp_path):
    shared, private = tmp_path / "shared", tmp_path / "private"
    shared.mkdir()
    private.mkdir()
    shared.chmod(0o1777)
    (private / "file").write_text("kept")
    (shared / "file").symlink_to(private / "file")
    (shared / "folder").symlink_to(private)
    os.chown(shared / "file", NOBODY, NOBODY, follow_symlinks=False)
    os.chown(shared / "folder", NOBODY, NOBODY, follow_symlinks=False)
    (tmp_path / "mine").symlink_to(shared / "file")
    path = tmp_path / "mine" if where == "chain" else shared / where

    for write in (write_whole, write_text):
        with pytest.raises(PermissionError, match="a link of another user"):
            write(path, "text")

    assert (private / "file").read_text() == "kept"


def test_own_links_in_a_shared_folder_are_followed(tmp_path):
    tmp_path.chmod(0o1777)
    (tmp_path / "link").symlink_to("file")

    write_whole(tmp_path / "link", "text")

    assert (tmp_path / "file").read_text() == "text"


def test_links_in_a_circle_are_an_error(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    with pytest.raises((OSError, RuntimeError)):
        write_whole(tmp_path / "a", "text")


def test_check_writable_changes_nothing(tmp_path):
    (tmp_path / "file").write_text("before")
    before = (tmp_path / "file").stat()

    check_writable(tmp_path / "file")
    check_writable(tmp_path / "new")

    assert (tmp_path / "file").stat() == before
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    for bad in (tmp_path, tmp_path / "absent" / "file"):
        with pytest.raises(OSError, match="directory"):
            check_writable(bad)


def test_copy_new_writes_through_no_link(tmp_path):
    (tmp_path / "source").write_text("text")
    (tmp_path / "source").chmod(0o640)
    (tmp_path / "link").symlink_to("victim")

    with pytest.raises(FileExistsError):
        copy_new(tmp_path / "source", tmp_path / "link")
    copy_new(tmp_path / "source", tmp_path / "copy")

    assert not (tmp_path / "victim").exists()
    assert (tmp_path / "copy").read_text() == "text"
    assert mode(tmp_path / "copy") == 0o640


def test_an_endless_device_is_read_up_to_the_limit():
    with pytest.raises(SpecError, match="/dev/zero: larger than 1 MiB"):
        read_bytes(Path("/dev/zero"), limit=1 << 20)


def test_a_pipe_without_a_writer_does_not_block_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_SILENT_S", 0.1)
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(SpecError, match=r"pipe: no data came for 0.1 s"):
        read_bytes(tmp_path / "pipe")


def test_a_pipe_is_read_to_its_end(tmp_path):
    """As bash gives one: `--replay <(zcat trace.gz)`."""
    reading, writing = os.pipe()
    content = os.urandom(1 << 20)

    def write():
        with os.fdopen(writing, "wb") as file:
            file.write(content)

    thread = threading.Thread(target=write)
    thread.start()
    found = read_bytes(Path(f"/dev/fd/{reading}"))
    thread.join()
    os.close(reading)

    assert found == content


def test_a_file_beyond_the_limit_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)

    with pytest.raises(SpecError, match="larger than 16 MiB"):
        read_text(tmp_path / "huge")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[" * 100_000, "nested too deep"),
        (b"\xff", "not a UTF-8 text: byte 0 is 0xff"),
        (b"{", "not JSON: Expecting"),
        (b'{"a": ' * 50_000, "nested too deep"),
    ],
)
def test_what_is_no_json_is_named_with_its_file(content, said, tmp_path):
    (tmp_path / "file").write_bytes(content)

    with pytest.raises(SpecError, match=f"file: .*{said}"):
        read_json(tmp_path / "file")


def test_json_of_a_server_is_named_with_its_source():
    with pytest.raises(SpecError, match="the server: not JSON"):
        json_from(b"nothing", "the server")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(SpecError, match="absent: cannot read it: no such file"):
        read_text(tmp_path / "absent")
    with pytest.raises(SpecError, match="cannot read it: is a directory"):
        read_text(tmp_path)
