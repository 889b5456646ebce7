"""Publishers that are killed, and publishers at once."""

import multiprocessing
import os
import random
import shutil
import signal
import time

from publish_builders import (
    PLAIN,
    assert_sound,
    half_versions,
    publish_factor,
    stops_of,
    write_model,
)
from triton_kit.publishing import publish
from triton_kit.repository.publish.layout import versions
from triton_kit.repository.publish.state import state_folder

OLD = {"a": [1], "b": [1]}
NEW = {"a": [1, 2], "b": [1, 2], "c": [1]}


class Arena:
    """A repository that is put back before each publish of two versions and a model."""

    def __init__(self, folder):
        self.root, self.before = folder / "models", folder / "before"
        self.source = folder / "source"
        for name in ("a", "b"):
            publish_factor(folder, self.root, name, 1)
            write_model(self.source / name, 2, size=4)
        write_model(self.source / "c", 2)
        self.parts = [self.root, state_folder(self.root)]
        for part in self.parts:
            shutil.copytree(part, self.before / part.name)

    def restore(self):
        for part in self.parts:
            shutil.rmtree(part)
            shutil.copytree(self.before / part.name, part)

    def publish(self):
        publish(self.source, self.root, options=PLAIN)

    def outcome(self):
        """Return `old` or `new`, once the next command was there; all else is wrong."""
        assert half_versions(self.root) == []
        assert_sound(self.root)
        found = {m.name: versions(m) for m in self.root.iterdir()}
        assert found in (OLD, NEW), found
        return "new" if found == NEW else "old"


def every_call(folder, *, seed, count=None):
    """Kill before each system call of a publish; `count`: before each n-th only.

    After a call the disk is as it is before the next one.
    """
    del seed
    arena = Arena(folder)
    half = []
    total = stops_of(
        arena.publish, at_stop=lambda: half.extend(half_versions(arena.root))
    )
    assert total is not None, "the kernel does not allow to trace a process"
    assert half == [], half
    outcomes = {"old": 0, "new": 0}
    points = range(0, total, 2 * (count or 1))
    for point in points:
        arena.restore()
        stops_of(arena.publish, kill_at=point)
        outcomes[arena.outcome()] += 1
    return (
        f"{len(points)} kills: {outcomes['old']} undone or not begun, "
        f"{outcomes['new']} finished, 0 unsound; {total} looks of a reader: 0 half "
        "versions"
    )


def random_kills(folder, *, seed, count=200):
    """Kill at random times, while a reader polls."""
    arena, chosen = Arena(folder), random.Random(seed)
    begin_s = time.monotonic()
    os.waitpid(forked(arena.publish), 0)
    longest_s = (time.monotonic() - begin_s) * 1.1
    outcomes, looks = {"old": 0, "new": 0}, 0
    for _ in range(count):
        arena.restore()
        child = forked(arena.publish)
        ends_s = time.monotonic() + chosen.uniform(0, longest_s)
        while time.monotonic() < ends_s:
            assert half_versions(arena.root) == []
            looks += 1
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        outcomes[arena.outcome()] += 1
    return (
        f"{count} kills: {outcomes['old']} undone or not begun, {outcomes['new']} "
        f"finished, 0 unsound; {looks} looks of a reader: 0 half versions"
    )


def forked(work):
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    return child


def publish_some(folder, root, writer, count):
    for number in range(count):
        publish_factor(folder, root, "m", 1000 * writer + number)


def at_once(folder, *, seed, count=100, writers=8):
    """Publish from several processes at once."""
    del seed
    root = folder / "models"
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=publish_some, args=(folder, root, n, count))
        for n in range(writers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert not any(process.exitcode for process in processes)
    numbers = versions(root / "m")
    codes = {(root / "m" / str(n) / "model.py").read_text() for n in numbers}
    assert numbers == list(range(1, writers * count + 1)), len(numbers)
    assert len(codes) == writers * count, len(codes)
    assert_sound(root)
    return f"{writers} publishers x {count}: {len(codes)} versions, none lost or twice"
