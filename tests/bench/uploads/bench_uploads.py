"""Cut uploads, and two writers at once, against an S3 server on this machine.

    scripts/bench uploads [CUTS [PAIRS]]

Each push is cut at a random byte; after each, the pointer has to name a whole
repository.
Of each pair of writers, exactly one has to get an error.
"""

import os
import random
import shutil
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "tests"))

from stores import KEYS, CuttingProxy, s3_client, s3_server  # noqa: E402
from triton_kit.errors import TritonKitError  # noqa: E402
from triton_kit.transfer.pull import pull  # noqa: E402
from triton_kit.transfer.push import push  # noqa: E402
from triton_kit.transfer.stores import (  # noqa: E402
    ConflictError,
    Store,
    open_store,
    read_address,
)
from triton_kit.transfer.tree import read_tree  # noqa: E402

ADDRESS = "s3://models/digits"


def cut_uploads(folder, url, cuts):
    """Return how often the pointer named a whole repository, and files sent again."""
    draw, root = random.Random(0), folder / "cut"
    shutil.copytree(ROOT / "model_repository", root)
    push(root, store())
    whole = again = failed = 0
    for number in range(cuts):
        (root / "digits/1/model.onnx").write_bytes(draw.randbytes(200_000))
        (root / "decode/1/model.py").write_text(f"# {number}\n")
        with CuttingProxy(url, after_bytes=draw.randrange(210_000)) as proxy:
            os.environ["AWS_ENDPOINT_URL"] = proxy.url
            try:
                push(root, store())
            except TritonKitError:
                failed += 1
        os.environ["AWS_ENDPOINT_URL"] = url
        pull(store(), folder / "pulled")
        shutil.rmtree(folder / "pulled")
        whole += 1
        there = objects(url, read_tree(root).digest)
        again += push(root, store()).sent > 8 - len(there)
    print(
        f"{cuts} uploads cut, {failed} failed: the pointer named a whole repository "
        f"{whole} times; files sent again that were there: {again}"
    )


def two_writers(folder, pairs):
    """Count the pairs of which exactly one got an error."""
    good = 0
    for number in range(pairs):
        barrier = threading.Barrier(2)
        roots = [folder / f"{number}-{name}" for name in "ab"]
        for root in roots:
            shutil.copytree(ROOT / "model_repository", root)
            (root / "digits/labels.txt").write_text(root.name)

        class MeetingStore(Store):
            def write_if(self, name, data, version, barrier=barrier):
                barrier.wait(500)
                super().write_if(name, data, version)

        def write(root, meeting=MeetingStore):
            opened = store()
            try:
                return push(root, meeting(opened.address, opened._fs)).digest
            except ConflictError:
                return None

        with ThreadPoolExecutor() as pool:
            outcomes = list(pool.map(write, roots))
        pulled = pull(store(), folder / "pulled").digest
        shutil.rmtree(folder / "pulled")
        good += outcomes.count(None) == 1 and pulled in outcomes
    print(f"{pairs} pairs of writers: one won and one got an error {good} times")


def store():
    """Open the store as the variables say now."""
    return open_store(read_address(ADDRESS))


def objects(url, digest):
    """Return the objects of a repository."""
    found = s3_client(url).list_objects_v2(Bucket="models", Prefix=f"digits/{digest}/")
    return found.get("Contents", [])


def main():
    """Run both."""
    cuts, pairs = [int(word) for word in sys.argv[1:3]] + [50, 20][len(sys.argv) - 1 :]
    with tempfile.TemporaryDirectory() as name, s3_server() as url:
        os.environ.update(KEYS, AWS_ENDPOINT_URL=url, AWS_MAX_ATTEMPTS="1")
        s3_client(url).create_bucket(Bucket="models")
        cut_uploads(Path(name), url, cuts)
        two_writers(Path(name), pairs)


main()
