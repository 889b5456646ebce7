"""Publishers that are killed, that run at once, and disks that are full."""

import multiprocessing
import os
import random
import shutil

import pytest

from publish_builders import (
    PLAIN,
    assert_sound,
    half_versions,
    publish_factor,
    stops_of,
    write_model,
)
from triton_kit.errors import RepositoryError
from triton_kit.publishing import publish
from triton_kit.repository.publish.layout import versions
from triton_kit.repository.publish.state import state_folder
from triton_kit.repository.publish.verify import verify


@pytest.fixture
def two_models(tmp_path):
    """A repository with `a` and `b`, and a source that changes both and adds `c`."""
    source = tmp_path / "source"
    for name in ("a", "b"):
        publish_factor(tmp_path, tmp_path / "models", name, 1)
        write_model(source / name, 2, size=4)
    write_model(source / "c", 2)
    return source, tmp_path / "models"


def numbers(root):
    return {m.name: versions(m) for m in root.iterdir()}


def test_a_publisher_killed_at_a_system_call_leaves_all_or_nothing(
    two_models, tmp_path
):
    source, root = two_models
    before = tmp_path / "before"
    shutil.copytree(root.parent, before, ignore=shutil.ignore_patterns("before"))

    def restore():
        for name in (root.name, state_folder(root).name):
            shutil.rmtree(root.parent / name)
            shutil.copytree(before / name, root.parent / name)

    seen = []
    total = stops_of(
        lambda: publish(source, root, options=PLAIN),
        at_stop=lambda: seen.extend(half_versions(root)),
    )
    if total is None:
        pytest.skip("the kernel does not allow to trace a process")
    assert seen == []
    assert numbers(root) == {"a": [1, 2], "b": [1, 2], "c": [1]}

    # Most system calls read; the last third has the renames.
    chosen = random.Random(0)
    points = [chosen.randrange(total) for _ in range(5)]
    points += [chosen.randrange(2 * total // 3, total) for _ in range(10)]
    for point in points:
        restore()
        stops_of(lambda: publish(source, root, options=PLAIN), kill_at=point)
        assert half_versions(root) == []
        assert_sound(root)
        assert numbers(root) in (
            {"a": [1], "b": [1]},
            {"a": [1, 2], "b": [1, 2], "c": [1]},
        )


def publish_some(folder, root, writer, count):
    for number in range(count):
        publish_factor(folder, root, "m", 100 * writer + number)


def test_publishers_at_once_lose_no_version(tmp_path):
    root = tmp_path / "models"
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=publish_some, args=(tmp_path, root, number, 5))
        for number in range(3)
    ]

    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert versions(root / "m") == list(range(1, 16))
    codes = {(root / "m" / str(n) / "model.py").read_text() for n in range(1, 16)}
    assert len(codes) == 15
    assert_sound(root)


@pytest.mark.parametrize("left_kib", [0, 16, 56])
def test_a_full_disk_changes_nothing_and_leaves_nothing(small_disk, tmp_path, left_kib):
    disk = small_disk(512 << 10)
    root = disk / "models"
    publish_factor(tmp_path, root, "m", 1)
    source = write_model(tmp_path / "large" / "m", 2)
    (source / "1" / "weights.bin").write_bytes(bytes(64 << 10))
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "filler").write_bytes(bytes(max(0, free - (left_kib << 10))))

    with pytest.raises(RepositoryError, match="No space left on device"):
        publish(source, root, options=PLAIN)

    assert versions(root / "m") == [1]
    assert_sound(root)


def test_every_flipped_bit_and_truncation_is_found(tmp_path):
    root = tmp_path / "models"
    for name in ("a", "b"):
        for factor in (1, 2):
            publish_factor(tmp_path, root, name, factor)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    chosen = random.Random(0)

    for _ in range(20):
        path = chosen.choice(files)
        content = path.read_bytes()
        at = chosen.randrange(len(content))
        if chosen.random() < 0.5:
            path.write_bytes(content[:at])
        else:
            bit = bytes([content[at] ^ (1 << chosen.randrange(8))])
            path.write_bytes(content[:at] + bit + content[at + 1 :])
        assert path in {problem.path for problem in verify(root).problems}
        path.write_bytes(content)
    assert verify(root).is_intact
