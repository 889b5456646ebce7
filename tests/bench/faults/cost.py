"""What a publish costs beside `cp` and `sync`, and `verify` beside sha256."""

import hashlib
import os
import shutil
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from publish_builders import PLAIN, write_model
from triton_kit.publishing import publish
from triton_kit.repository.publish.verify import verify

_GIB = 1 << 30
_PIECE = 64 << 20
_MODEL_BYTES = 1 << 20
_ROUNDS = 7


def copies(folder, *, seed, count=5):
    """Publish a model of 1 GiB, and copy it, in turns."""
    del seed
    source = write_model(folder / "source" / "m", 1)
    with (source / "1" / "weights.bin").open("wb") as file:
        for _ in range(_GIB // _PIECE):
            file.write(os.urandom(_PIECE))
        os.fsync(file.fileno())
    ratios, published, copied = [], [], []
    for number in range(count):
        copied.append(timed(lambda: copy(source, folder / "copy")))
        shutil.rmtree(folder / "copy")
        os.sync()
        root = folder / f"models-{number}"
        published.append(timed(lambda root=root: publish(source, root, options=PLAIN)))
        shutil.rmtree(root)
        os.sync()
        ratios.append(published[-1] / copied[-1])
    cp_s, ours_s = statistics.median(copied), statistics.median(published)
    return (
        f"1 GiB, {count} rounds: cp and sync {cp_s:.2f} s, publish {ours_s:.2f} s, "
        f"ratio {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


def copy(source, target):
    subprocess.run(["cp", "-r", str(source), str(target)], check=True)
    subprocess.run(["sync", str(target / "1" / "weights.bin")], check=True)


def timed(work):
    begin_s = time.monotonic()
    work()
    return time.monotonic() - begin_s


def digests(folder, *, seed, count=1000):
    """Verify a repository of `count` models of 1 MiB, and hash as much, in turns."""
    del seed
    source = folder / "source"
    for number in range(count):
        model = write_model(source / f"m{number}", number)
        (model / "1" / "weights.bin").write_bytes(os.urandom(_MODEL_BYTES))
    root = folder / "models"
    publish(source, root, options=PLAIN)
    shutil.rmtree(source)
    os.sync()
    block = os.urandom(_PIECE)
    ours, one, all_cores = [], [], []
    for _ in range(_ROUNDS):
        begin_s = time.monotonic()
        report = verify(root)
        ours.append(report.bytes / (time.monotonic() - begin_s))
        assert report.is_intact
        rounds = max(1, report.bytes // _PIECE)
        one.append(rounds * _PIECE / timed(lambda: hash_times(block, rounds)))  # noqa: B023
        all_cores.append(on_all_cores(block))
    ratios = [verified / alone for verified, alone in zip(ours, one, strict=True)]
    return (
        f"{count} models, {report.files} files, {report.bytes / 1e6:.0f} MB, "
        f"{_ROUNDS} rounds: {statistics.median(ours) / 1e6:.0f} MB/s, "
        f"{statistics.median(ratios):.0%} of sha256 on one core "
        f"({min(ratios):.0%} to {max(ratios):.0%}), and "
        f"{statistics.median(ours) / statistics.median(all_cores):.0%} of it on "
        f"{os.cpu_count()} cores"
    )


def hash_times(block, rounds):
    for _ in range(rounds):
        hashlib.sha256(block).digest()


def on_all_cores(block):
    cores = os.cpu_count() or 1

    def work():
        list(pool.map(lambda _: hashlib.sha256(block).digest(), range(cores)))

    with ThreadPoolExecutor(cores) as pool:
        return cores * len(block) / timed(work)
