"""Run a model on feeds in a child process: ONNX files, and TensorRT plans."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triton_kit.conversion.workers.child import (
    begun_worker,
    call_worker,
    explain,
    no_blas_threads,
)
from triton_kit.conversion.workers.samples import Feed, read_feed, write_feed
from triton_kit.process import Finished

Json = Any
LEVELS = ("all", "extended", "basic", "off")  # of ONNX Runtime's optimiser


@dataclass(frozen=True, slots=True)
class FeedFiles:
    """Feeds on disk, ready for a child process; `labels` say what each one is."""

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: tuple[str, ...]


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
        "workers.onnx_worker", order, deadline_s=deadline_s, env=no_blas_threads()
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
    done = call_worker("workers.plan_worker", order, deadline_s=deadline_s)
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
