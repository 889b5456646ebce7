import io
import os
import random
import resource
import subprocess
import sys
import tarfile
import threading
from contextlib import suppress

import pytest

from triton_kit.errors import RepositoryError, SpecError
from triton_kit.transfer.archive import pack, unpack
from triton_kit.transfer.tree import read_tree


@pytest.fixture
def packed(repository, tmp_path):
    return pack(repository, tmp_path / "repository.tar")


def archive_of(path, *entries):
    """Write a tar file of (name, type, content, link target)."""
    with tarfile.open(path, "w") as tar:
        for name, kind, content, target in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.linkname = kind, len(content), target
            tar.addfile(entry, io.BytesIO(content))
    return path


def file(name, content=b"x"):
    return name, tarfile.REGTYPE, content, ""


def left_in(folder, *known):
    return {path.name for path in folder.iterdir()} - set(known)


def test_an_archive_has_the_same_bytes_whenever_and_by_whomever_it_is_made(
    repository, packed, tmp_path
):
    for path in repository.rglob("*"):
        os.utime(path, (1, 1))
    (repository / "digits/config.pbtxt").chmod(0o600)
    again = pack(repository, tmp_path / "again.tar")

    assert again.path.read_bytes() == packed.path.read_bytes()
    assert again.digest == packed.digest


def test_unpacking_gives_the_files_modes_and_empty_folders_back(
    repository, packed, tmp_path
):
    unpacked = unpack(packed.path, tmp_path / "new")

    assert unpacked.digest == packed.digest
    assert read_tree(tmp_path / "new") == read_tree(repository)
    assert os.access(tmp_path / "new/stub/triton_python_backend_stub", os.X_OK)
    assert (tmp_path / "new/both/1").is_dir()


def test_other_programs_read_the_archive_and_write_one(repository, packed, tmp_path):
    (tmp_path / "theirs").mkdir()
    subprocess.run(["tar", "xf", packed.path, "-C", tmp_path / "theirs"], check=True)
    subprocess.run(
        ["tar", "cf", tmp_path / "gnu.tar", "-C", repository, "."], check=True
    )

    assert read_tree(tmp_path / "theirs") == read_tree(repository)
    assert unpack(tmp_path / "gnu.tar", tmp_path / "new").digest == packed.digest


def test_links_inside_become_files_and_bytecode_stays_behind(repository, tmp_path):
    (repository / "digits/2").symlink_to(repository / "digits/1")
    cache = repository / "stub/1/__pycache__"
    cache.mkdir()
    (cache / "model.pyc").write_bytes(b"x")
    packed = pack(repository, tmp_path / "r.tar")

    names = subprocess.check_output(["tar", "tf", packed.path], text=True)
    assert "digits/2/model.onnx" in names
    assert "pyc" not in names


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "../.."])
def test_a_link_out_of_the_repository_is_refused(repository, tmp_path, target):
    (tmp_path / "outside").write_text("secret")
    (repository / "digits/labels.txt").symlink_to(
        target if target.startswith("/") else f"../../{target.removeprefix('../')}"
    )

    with pytest.raises(RepositoryError, match="leaves the repository"):
        pack(repository, tmp_path / "r.tar")
    assert left_in(tmp_path, "outside", "repository") == set()


def test_a_link_that_leads_in_circles_is_refused(repository, tmp_path):
    (repository / "digits/loop").symlink_to(repository / "digits")

    with pytest.raises(RepositoryError, match="Too many levels"):
        pack(repository, tmp_path / "r.tar")


def test_a_pipe_in_the_repository_is_refused(repository, tmp_path):
    os.mkfifo(repository / "digits/pipe")

    with pytest.raises(RepositoryError, match="neither a file nor a folder"):
        pack(repository, tmp_path / "r.tar")


def test_the_archive_may_not_be_inside_of_what_is_packed(repository):
    with pytest.raises(SpecError, match="is inside of"):
        pack(repository, repository / "r.tar")


def test_a_file_that_changes_meanwhile_is_never_packed_as_another(repository, tmp_path):
    changing, is_done = repository / "digits/1/model.onnx", threading.Event()

    def change():
        while not is_done.is_set():
            changing.write_bytes(os.urandom(1 << 20))

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for number in range(5):
            archive = tmp_path / f"{number}.tar"
            with suppress(RepositoryError):
                pack(repository, archive)
            if archive.exists():
                unpack(archive, tmp_path / str(number))
                whole = read_tree(tmp_path / str(number)).digest
                assert pack(tmp_path / str(number), archive).digest == whole
    finally:
        is_done.set()
        thread.join()


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([file("/etc/x")], "absolute"),
        ([file("../x")], "leaves the repository"),
        ([file("a/../../x")], "leaves the repository"),
        ([file("a//x")], "empty part"),
        ([file("a\\x")], "not every system"),
        ([file("a\nb")], "not every system"),
        ([file("a" * 300)], "too long"),
        ([file("a"), file("a")], "there twice"),
        ([file("./a"), file("a")], "there twice"),
        ([file("a"), file("a/b")], "Not a directory|File exists|below the file"),
        ([("a", tarfile.SYMTYPE, b"", "/etc")], "a link"),
        ([("a", tarfile.SYMTYPE, b"", "b")], "a link"),
        ([file("b"), ("a", tarfile.LNKTYPE, b"", "b")], "a link"),
        ([("a", tarfile.CHRTYPE, b"", "")], "neither a plain file"),
        ([("a", tarfile.BLKTYPE, b"", "")], "neither a plain file"),
        ([("a", tarfile.FIFOTYPE, b"", "")], "neither a plain file"),
        ([file("a", b"12345"), file("b", b"12345")], "--max-bytes"),
        ([file(str(n), b"") for n in range(10)], "--max-files"),
    ],
)
def test_an_archive_that_is_a_trap_leaves_nothing(tmp_path, entries, words):
    archive = archive_of(tmp_path / "a.tar", file("good", b""), *entries)

    with pytest.raises(RepositoryError, match=words):
        unpack(archive, tmp_path / "new", max_bytes=9, max_files=9)
    assert left_in(tmp_path, "a.tar") == set()


def test_an_archive_that_ends_early_leaves_nothing(packed, tmp_path):
    content = packed.path.read_bytes()
    cut, draw = tmp_path / "cut.tar", random.Random(0)
    end = len(content.rstrip(b"\0"))
    for size in [0, 1, 511, 512, *(draw.randrange(end) for _ in range(40))]:
        cut.write_bytes(content[:size])
        with pytest.raises(RepositoryError, match=r"cut\.tar"):
            unpack(cut, tmp_path / "new")
    assert left_in(tmp_path, "cut.tar", "repository", packed.path.name) == set()


def test_a_header_of_many_bytes_takes_no_memory(tmp_path):
    archive = tmp_path / "a.tar"
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 40
    with archive.open("wb") as written:
        written.write(header.tobuf())
        written.truncate(1 << 40)  # sparse: no bytes on the disk

    with pytest.raises(RepositoryError, match="not a whole tar file"):
        unpack(archive, tmp_path / "new")


def test_a_folder_with_files_is_never_written_to(packed, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new/mine").write_text("mine")

    with pytest.raises(RepositoryError, match="a folder with files"):
        unpack(packed.path, tmp_path / "new")
    assert left_in(tmp_path / "new") == {"mine"}


def test_what_the_check_refuses_leaves_nothing(packed, tmp_path):
    def refuse(folder):
        raise RepositoryError(f"{folder}/digits: no")

    with pytest.raises(RepositoryError) as caught:
        unpack(packed.path, tmp_path / "new", check=refuse)
    assert caught.value.message == f"{tmp_path}/new/digits: no"
    assert left_in(tmp_path, "repository", packed.path.name) == set()


def test_a_full_disk_leaves_nothing(packed, tmp_path):
    words = [sys.executable, "-m", "triton_kit", "unpack", packed.path, "-o", "new"]
    limit = (1500, 1500)  # bytes of a file; the model has more
    done = subprocess.run(
        words,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )

    assert done.returncode == 7, done.stderr
    assert "cannot write it: File too large" in done.stderr
    assert left_in(tmp_path, "repository", packed.path.name) == set()
