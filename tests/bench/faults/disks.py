"""Disks that are full, and files that change on them."""

import os
import random
import subprocess

from publish_builders import PLAIN, assert_sound, publish_factor, write_model
from triton_kit.errors import RepositoryError
from triton_kit.publishing import publish
from triton_kit.repository.publish.layout import versions
from triton_kit.repository.publish.verify import verify

_LARGE_BYTES = 256 << 10


def full_disks(folder, *, seed, count=20):
    """Publish to a tmpfs that has less space than it takes, by `count` sizes."""
    del seed
    if os.geteuid():
        return "left out: to mount a small disk takes root"
    source = write_model(folder / "large" / "m", 2)
    (source / "1" / "weights.bin").write_bytes(bytes(_LARGE_BYTES))
    refused = 0
    for step in range(count):
        disk = folder / f"disk-{step}"
        disk.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
        subprocess.run(words, check=True)
        try:
            refused += _publish_to_full(folder, disk, source, step / count)
        finally:
            subprocess.run(["umount", str(disk)], check=True)
    assert refused == count, f"{count - refused} publishes found the space"
    return f"{count} sizes: {refused} refused, 0 visible changes, 0 staged files left"


def _publish_to_full(folder, disk, source, share):
    root = disk / "models"
    publish_factor(folder / f"first-{share}", root, "m", 1)
    found = os.statvfs(disk)
    left = int(share * _LARGE_BYTES)
    (disk / "filler").write_bytes(bytes(found.f_bavail * found.f_frsize - left))
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    reason = _refusal(source, root)
    if reason is None:
        return False
    assert "No space left" in reason, reason
    assert before == {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    assert versions(root / "m") == [1]
    assert_sound(root)
    return True


def _refusal(source, root):
    try:
        publish(source, root, options=PLAIN)
    except RepositoryError as error:
        return error.message
    return None


def flips(folder, *, seed, count=100):
    """Flip a bit of a file, or cut it short."""
    root, chosen = folder / "models", random.Random(seed)
    for name in ("a", "b", "c"):
        for factor in (1, 2):
            publish_factor(folder, root, name, factor)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    found = 0
    for _ in range(count):
        path = chosen.choice(files)
        content = path.read_bytes()
        at = chosen.randrange(len(content))
        bit = bytes([content[at] ^ (1 << chosen.randrange(8))])
        is_cut = chosen.random() < 0.5
        path.write_bytes(content[:at] + (b"" if is_cut else bit + content[at + 1 :]))
        found += path in {problem.path for problem in verify(root).problems}
        path.write_bytes(content)
    assert found == count, f"{found} of {count} found"
    return f"{count} flips and truncations of {len(files)} files: {found} found"
