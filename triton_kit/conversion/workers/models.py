"""Run a model on feeds in a child process: ONNX files, and TensorRT plans."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from triton_kit.conversion.workers.child import (
    call_worker,
    explain,
    start_worker,
)
from triton_kit.conversion.workers.samples import (
    Feed,
    Outputs,
    read_feed,
    write_feed,
)

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
    model: Path,
    feeds: FeedFiles,
    *,
    level: str,
    folder: Path,
    timeout_s: float,
    on_gpu: bool = False,
) -> list[Outputs]:
    """Return the outputs of an ONNX file for every feed, by name.

    Optimised as `level` says, one of `LEVELS`; `folder` takes the outputs. On a GPU the
    CUDA provider runs it, and the CPU what that provider cannot.

    Raises:
        NoKernelError: an operator has no CPU kernel; named with its first node.
        VerifyError: the model does not run, its process died or took too long.
    """
    with start_onnx(
        model, feeds, level=level, folder=folder, timeout_s=timeout_s, on_gpu=on_gpu
    ) as finish:
        return finish()


@contextmanager
def start_onnx(
    model: Path,
    feeds: FeedFiles,
    *,
    level: str,
    folder: Path,
    timeout_s: float,
    on_gpu: bool = False,
) -> Iterator[Callable[[], list[Outputs]]]:
    """Start what `run_onnx` does and yield what waits for the outputs.

    `model` must stay as it is until then.
    """
    request = _request(model, feeds, level, folder) | {"on_gpu": on_gpu}
    with start_worker(
        "workers.onnx_worker",
        request,
        timeout_s=timeout_s,
        failed=lambda done: explain(model, done, "ONNX Runtime does not run it"),
        preloaded=True,
    ) as finish:
        yield lambda: read_outputs(folder, finish()["outputs"], len(feeds.paths))


def run_plan(
    plan: Path, feeds: FeedFiles, *, folder: Path, timeout_s: float
) -> list[Outputs]:
    """Return the outputs of a TensorRT plan, on the GPU it was built on.

    Raises:
        VerifyError: the plan does not run, its process died or took too long.
    """
    response = call_worker(
        "workers.plan_worker",
        _request(plan, feeds, "off", folder),
        timeout_s=timeout_s,
        failed=lambda done: explain(plan, done, "TensorRT does not run it"),
    )
    return read_outputs(folder, response["outputs"], len(feeds.paths))


def _request(model: Path, feeds: FeedFiles, level: str, folder: Path) -> Json:
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "model": str(model),
        "level": level,
        "names": feeds.names,
        "feeds": [str(path) for path in feeds.paths],
        "labels": feeds.labels,
        "folder": str(folder),
    }


def read_outputs(folder: Path, names: Sequence[str], count: int) -> list[Outputs]:
    """Read what a worker wrote for every feed."""
    return [read_feed(folder / f"output_{index}.npz", names) for index in range(count)]
