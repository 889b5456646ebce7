"""Run an ONNX model in a child process: ONNX Runtime can end its process."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triton_kit.convert.place import room_hint
from triton_kit.convert.samples import Feed, read_feed, write_feed
from triton_kit.errors import ConvertError, VerifyError
from triton_kit.process import Finished, begun

Json = Any
REASON_LINES = 3
LEVELS = ("all", "extended", "basic", "off")  # of ONNX Runtime's optimiser
_NO_KERNEL = re.compile(
    r"Could not find an implementation for ([\w.]+\(\d+\)) node with name '([^']*)'"
)
_OUT_OF_MEMORY = re.compile(
    "bad_alloc|MemoryError|Failed to allocate memory|[Cc]annot allocate memory"
)
_DISK_FULL = re.compile(
    r"No space left|File too large|Disk quota|requested and \d+ written"
)
_UNKNOWN_OP = re.compile(r"([\w.]+:[\w.]+)\(-?\d+\) is not a registered function/op")


@dataclass(frozen=True, slots=True)
class FeedFiles:
    """Feeds on disk, ready for a child process; `labels` say what each one is."""

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: tuple[str, ...]


class NoKernelError(VerifyError):
    """The CPU has no kernel for an operator in this data type."""


def write_feeds(
    feeds: Sequence[Feed], folder: Path, *, labels: Sequence[str] | None = None
) -> FeedFiles:
    """Write feeds for `run_onnx`; unnamed ones are called by their number."""
    folder.mkdir(parents=True, exist_ok=True)
    paths, names = [], list[str]()
    for index, feed in enumerate(feeds):
        path = folder / f"feed_{index}.npz"
        names = write_feed(feed, path)
        paths.append(path)
    called = labels or [f"sample batch {index}" for index in range(len(paths))]
    return FeedFiles(tuple(names), tuple(paths), tuple(called))


def run_onnx(
    model: Path, feeds: FeedFiles, *, level: str, answers: Path, deadline_s: float
) -> list[Feed]:
    """Return what an ONNX file answers to every feed, by output.

    Optimised as `level` says, one of `LEVELS`.

    Raises:
        NoKernelError: an operator has no CPU kernel; named with its first node.
        VerifyError: the model does not run, its process died or took too long.
    """
    with begun_onnx(
        model, feeds, level=level, answers=answers, deadline_s=deadline_s
    ) as answer:
        return answer()


@contextmanager
def begun_onnx(
    model: Path, feeds: FeedFiles, *, level: str, answers: Path, deadline_s: float
) -> Iterator[Callable[[], list[Feed]]]:
    """Begin what `run_onnx` does and yield what waits for the answers.

    `model` must stay as it is until then.
    """
    order = _order(model, feeds, level, answers)
    with begun_worker(
        "run_worker", order, deadline_s=deadline_s, env=no_blas_threads()
    ) as finish:
        yield lambda: _read_answers(order, finish(), by="ONNX Runtime")


def run_plan(
    plan: Path, feeds: FeedFiles, *, answers: Path, deadline_s: float
) -> list[Feed]:
    """Return what a TensorRT plan answers, on the GPU it was built on.

    Raises:
        VerifyError: the plan does not run, its process died or took too long.
    """
    order = _order(plan, feeds, "off", answers)
    done = call_worker("engine_run_worker", order, deadline_s=deadline_s)
    return _read_answers(order, done, by="TensorRT")


def _order(model: Path, feeds: FeedFiles, level: str, answers: Path) -> Json:
    answers.mkdir(parents=True, exist_ok=True)
    return {
        "model": str(model),
        "level": level,
        "names": feeds.names,
        "feeds": [str(path) for path in feeds.paths],
        "labels": feeds.labels,
        "answers": str(answers),
    }


def _read_answers(order: Json, done: Finished, *, by: str) -> list[Feed]:
    if done.exit_code != 0:
        raise explain(Path(order["model"]), done, f"{by} does not run it")
    outputs = json.loads(done.stdout)["outputs"]
    folder = Path(order["answers"])
    return [
        read_feed(folder / f"answer_{index}.npz", outputs)
        for index in range(len(order["feeds"]))
    ]


def call_worker(
    module: str, order: Json, *, deadline_s: float, env: dict[str, str] | None = None
) -> Finished:
    """Give an order to a worker module of this package, in a process of its own."""
    with begun_worker(module, order, deadline_s=deadline_s, env=env) as finish:
        return finish()


def begun_worker(
    module: str, order: Json, *, deadline_s: float, env: dict[str, str] | None = None
) -> AbstractContextManager[Callable[[], Finished]]:
    """Begin what `call_worker` does; see `triton_kit.process.begun`."""
    argv = [sys.executable, "-m", f"triton_kit.convert.{module}"]
    return begun(argv, deadline_s=deadline_s, stdin=json.dumps(order), env=env)


def no_blas_threads() -> dict[str, str]:
    """Return the environment of a worker that calls no linear algebra of NumPy's.

    OpenBLAS starts a thread per core as NumPy is imported: 0.1 s of CPU on two.
    """
    return {"OPENBLAS_NUM_THREADS": "1"} | os.environ


def explain(model: Path, done: Finished, what: str) -> VerifyError:
    """Turn a failed run into an error that names the operator, or the signal."""
    if match := _NO_KERNEL.search(done.stderr):
        return NoKernelError(
            f"ONNX Runtime has no CPU kernel for {match[1]}, first node {match[2]!r}",
            hint="keep it in fp32 (--keep-fp32), or choose another precision",
        )
    if match := _UNKNOWN_OP.search(done.stderr):
        return NoKernelError(
            f"ONNX Runtime does not know operator {match[1]}",
            hint="export without it, or replace it by a graph pass (--pass)",
        )
    said = ending(done).replace(f"{model.parent}/", "")  # a scratch folder
    return VerifyError(f"{what}: {said}", hint=hint(done))


def ending(done: Finished) -> str:
    """Say how a worker ended, with its last words."""
    reason = " ".join(done.stderr.strip().splitlines()[-REASON_LINES:])
    return f"{done.ending}: {reason}" if reason else done.ending


def hint(done: Finished) -> str | None:
    """Say what may help, from how a worker ended."""
    if done.exit_code is None:
        return "raise --deadline"
    if done.exit_code == -signal.SIGKILL or _OUT_OF_MEMORY.search(done.stderr):
        return "it ran out of memory, most likely: use smaller shapes or fewer samples"
    if _DISK_FULL.search(done.stderr):
        return room_hint()
    if done.exit_code < 0:
        return "the library crashed; nothing was kept"
    return None


def worker_failed(path: Path, done: Finished, what: str) -> ConvertError:
    """Turn a failed worker that is not the gate's into an error."""
    error = explain(path, done, what)
    return ConvertError(f"{path.name}: {error.message}", hint=error.hint)
