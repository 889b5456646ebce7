"""Publishing: a reader sees all of a version or none; versions never change."""

import multiprocessing
import os
import shutil
import signal
import stat

import pytest

from triton_kit.errors import RepositoryError, SpecError
from triton_kit.repository.publish.layout import model_names, versions
from triton_kit.repository.publish.manifest import verify_manifest, write_manifest
from triton_kit.repository.publish.publish import Draft, publish
from triton_kit.repository.publish.state import state_folder


def draft(name="m", *, content="one", config="max_batch_size: 0\n"):
    def write_version(folder):
        (folder / "model.py").write_text(content)
        write_manifest(folder, {"model": name})

    return Draft(name=name, config=config, write_version=write_version)


def snapshot(root):
    return {p: p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_a_new_model_is_version_one(tmp_path):
    root = tmp_path / "models"

    (published,) = publish(root, [draft()])

    assert (published.version, published.changed) == (1, True)
    assert (root / "m" / "1" / "model.py").read_text() == "one"
    verify_manifest(root / "m" / "1")


def test_a_repository_that_was_deleted_begins_anew(tmp_path):
    root = tmp_path / "models"
    publish(root, [draft()])
    publish(root, [draft(content="two")])
    shutil.rmtree(root)

    (published,) = publish(root, [draft(content="three")])

    assert published.version == 1


def test_everybody_may_read_what_was_published(tmp_path):
    publish(tmp_path / "models", [draft()])

    folders = [tmp_path / "models" / "m", tmp_path / "models" / "m" / "1"]
    assert all(p.stat().st_mode & stat.S_IROTH for p in folders)


def test_the_same_content_stays_the_same_version(tmp_path):
    publish(tmp_path / "models", [draft()])
    before = snapshot(tmp_path / "models")

    (published,) = publish(tmp_path / "models", [draft()])

    assert (published.version, published.changed) == (1, False)
    assert snapshot(tmp_path / "models") == before


def test_other_content_is_the_next_version_and_leaves_the_first(tmp_path):
    root = tmp_path / "models"
    publish(root, [draft()])

    (published,) = publish(root, [draft(content="two")])

    assert published.version == 2
    assert versions(root / "m") == [1, 2]
    assert (root / "m" / "1" / "model.py").read_text() == "one"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_text("o"),
        lambda path: path.write_text("two"),
    ],
    ids=["missing", "cut short", "other bytes"],
)
def test_a_version_that_was_spoilt_is_published_anew(tmp_path, spoil):
    root = tmp_path / "models"
    publish(root, [draft()])
    spoil(root / "m" / "1" / "model.py")

    (published,) = publish(root, [draft()])

    assert (published.version, published.changed) == (2, True)
    verify_manifest(root / "m" / "2")


def test_files_that_a_server_left_do_not_make_a_new_version(tmp_path):
    root = tmp_path / "models"
    publish(root, [draft()])
    (root / "m" / "1" / "engine.cache").write_text("the server's")

    (published,) = publish(root, [draft()])

    assert (published.version, published.changed) == (1, False)


def test_a_new_config_alone_keeps_the_version(tmp_path):
    root = tmp_path / "models"
    publish(root, [draft()])

    (published,) = publish(root, [draft(config="max_batch_size: 4\n")])

    assert (published.version, published.changed) == (1, True)
    assert (root / "m" / "config.pbtxt").read_text() == "max_batch_size: 4\n"


def test_a_draft_that_fails_changes_nothing_and_leaves_nothing(tmp_path):
    root = tmp_path / "models"
    publish(root, [draft()])
    before = snapshot(tmp_path)

    def fail(folder):
        (folder / "half").write_text("half")
        raise RepositoryError("the disk is full")

    broken = Draft(name="b", config="", write_version=fail)
    with pytest.raises(RepositoryError, match="full"):
        publish(root, [draft(content="two"), broken])

    assert snapshot(tmp_path) == before
    assert model_names(root) == ["m"]


@pytest.mark.parametrize("name", ["../m", "a/b", ".m", "", "a" * 129, "m\n"])
def test_a_name_that_leaves_the_repository_is_refused(tmp_path, name):
    with pytest.raises(SpecError, match="cannot be a model's name"):
        publish(tmp_path / "models", [draft(name)])

    assert not (tmp_path / "models").exists()


def test_a_file_in_the_repositorys_place_is_refused(tmp_path):
    (tmp_path / "models").write_text("a file")

    with pytest.raises(SpecError, match="found a file"):
        publish(tmp_path / "models", [draft()])


def publish_and_hang(root):
    def hang(folder):
        (folder / "half").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)

    publish(root, [Draft(name="b", config="", write_version=hang)])


def test_what_a_killed_writer_left_is_swept(tmp_path):
    root = tmp_path / "models"
    writer = multiprocessing.get_context("spawn").Process(
        target=publish_and_hang, args=(root,)
    )
    writer.start()
    writer.join()
    stages = state_folder(root) / "stage"
    [left] = stages.iterdir()
    assert (left / "b" / "new" / "half").is_file()

    publish(root, [draft()])

    assert list(stages.iterdir()) == []


def publish_ten(root, writer):
    for number in range(10):
        publish(root, [draft(content=f"{writer}-{number}")])


def test_writers_at_once_lose_no_version(tmp_path):
    root = tmp_path / "models"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=publish_ten, args=(root, n)) for n in range(3)]

    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert versions(root / "m") == list(range(1, 31))
    contents = {(root / "m" / str(n) / "model.py").read_text() for n in range(1, 31)}
    assert len(contents) == 30


def test_a_changed_file_is_found_by_its_manifest(tmp_path):
    root = tmp_path / "models"
    publish(root, [draft()])
    (root / "m" / "1" / "model.py").write_text("changed")

    with pytest.raises(RepositoryError, match="differs from its manifest"):
        verify_manifest(root / "m" / "1")


def test_missing_and_extra_files_are_found_by_the_manifest(tmp_path):
    root = tmp_path / "models"
    publish(root, [draft()])
    version = root / "m" / "1"

    (version / "extra").write_text("x")
    with pytest.raises(RepositoryError, match="not in the manifest"):
        verify_manifest(version)

    (version / "extra").unlink()
    (version / "model.py").unlink()
    with pytest.raises(RepositoryError, match="missing"):
        verify_manifest(version)


def test_bytecode_that_a_server_left_does_not_break_the_manifest(tmp_path):
    root = tmp_path / "models"
    publish(root, [draft()])
    bytecode = root / "m" / "1" / "__pycache__"
    bytecode.mkdir()

    (bytecode / "model.cpython-311.pyc").write_bytes(b"")

    verify_manifest(root / "m" / "1")
