"""The main job, end to end: a project is built, served, scored and load-tested."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.http import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from triton_kit.build_project import build
from triton_kit.errors import MissingExtraError, ServerError, SpecError
from triton_kit.loadtest.results.files import write_text
from triton_kit.loadtest.results.result import PerfResult
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import ClosedLoad, PerfSpec
from triton_kit.project.load import FILE_NAME, load_project
from triton_kit.project.scaffold import scaffold
from triton_kit.samples import read_npz
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec

RECIPE = "digits"
CLASSIFIER = "digits"
PIPELINE = "read_digit"
LOADS = (ClosedLoad(1), ClosedLoad(8), ClosedLoad(32))
MEASURE_S = 2.0

Images = NDArray[np.float32]  # shape (count, 1, 8, 8), 0 to 1
Labels = NDArray[np.int64]  # shape (count,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of the demo and how long it took."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """What the demo found out; `loads` are the load tests by model."""

    folder: Path
    server_version: str
    accuracy: float
    scored: int
    loads: dict[str, PerfResult]
    stages: tuple[Stage, ...]

    def summary(self) -> dict[str, Any]:
        """Return the content of `summary.json`.

        Requests and errors are of the whole demo; throughput and latency are of the
        pipeline under the load with the highest throughput.
        """
        runs = [run for result in self.loads.values() for run in result.runs]
        best = max(self.loads[PIPELINE].runs, key=lambda run: run.throughput)
        figures = best.as_json()
        sent = sum(run.as_json()["requests"] for run in runs)
        return {
            "server_version": self.server_version,
            "accuracy": self.accuracy,
            "requests": self.scored + sent,
            "errors": sum(run.errors for run in runs),
            "throughput_rps": figures["requests_per_s"],
            "latency_us": {p: figures["latency_us"][p] for p in ("p50", "p90", "p99")},
            "load": figures["load"],
            "stages": [asdict(stage) for stage in self.stages],
        }


class Stages:
    """Times one stage after another and tells a watcher of each, before and after."""

    def __init__(self, watch: Callable[[str, float | None], None]) -> None:
        self.done: list[Stage] = []
        self._watch = watch

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body; the watcher gets None for the seconds while it runs."""
        self._watch(name, None)
        start = time.monotonic()
        yield
        seconds = time.monotonic() - start
        self.done.append(Stage(name=name, seconds=round(seconds, 3)))
        self._watch(name, seconds)


def run_demo(
    folder: Path, *, watch: Callable[[str, float | None], None] = lambda *_: None
) -> DemoResult:
    """Do the main job in `folder`; leave the project, the repository and the results.

    A folder with an earlier demo in it is used again: its project is built as it is.

    Raises:
        TritonKitError: a stage failed; what the earlier ones wrote is still there.
    """
    stages = Stages(watch)
    _check_folder(folder)
    with stages.stage("scaffold"):
        if not (folder / FILE_NAME).is_file():
            scaffold(RECIPE, folder)
    with stages.stage("build"):
        repository = build(load_project(folder, target="local")).repository
    images, labels = _held_back(folder)
    pictures = np.array([png(image) for image in images], dtype=object)
    loads = {}
    with ExitStack() as serving:
        with stages.stage("start server"):
            server = serving.enter_context(running(ServeSpec(repository=repository)))
        with stages.stage(f"score {len(images)} images"):
            accuracy = score(server.http_url, pictures, labels)
        for model, samples in (
            (CLASSIFIER, {"image": images}),
            (PIPELINE, {"png": pictures[:, np.newaxis]}),
        ):
            with stages.stage(f"load-test {model}"):
                loads[model] = measure(_load(server.http_url, model, samples))
        with stages.stage("stop server"):
            serving.close()
    result = DemoResult(
        folder=folder,
        server_version=server.version,
        accuracy=accuracy,
        scored=len(images),
        loads=loads,
        stages=tuple(stages.done),
    )
    _write_results(result)
    return result


def png(image: Images) -> bytes:
    """Return a picture, float32 of shape (1, 8, 8), as the bytes of a PNG."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("pillow", extra="embedded") from error
    file = io.BytesIO()
    Image.fromarray(np.rint(image[0] * 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def score(url: str, pictures: NDArray[Any], labels: Labels) -> float:
    """Send PNGs through the pipeline, one a request; return the share that is right.

    Raises:
        ServerError: the server refused a picture.
    """
    client = InferenceServerClient(url.removeprefix("http://"))
    right = 0
    try:
        for picture, label in zip(pictures, labels, strict=True):
            request = InferInput("png", [1, 1], "BYTES")
            request.set_data_from_numpy(np.array([[picture]], dtype=object))
            scores = client.infer(PIPELINE, [request]).as_numpy("scores")
            right += int(scores.argmax() == label)
    except InferenceServerException as error:
        raise ServerError(f"{PIPELINE} refused a picture: {error}") from error
    finally:
        client.close()
    return right / len(labels)


def _check_folder(folder: Path) -> None:
    if (folder / FILE_NAME).is_file():
        return
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise SpecError(
            f"{folder}: neither an empty folder nor an earlier demo",
            hint="name another with --output",
        )


def _held_back(folder: Path) -> tuple[Images, Labels]:
    path = folder / "data" / "test.npz"
    data = read_npz(path)
    if missing := {"image", "label"} - data.keys():
        raise SpecError(
            f"{path}: has no {missing.pop()!r}",
            hint="start over in another folder: --output DIR",
        )
    return data["image"], data["label"]


def _load(url: str, model: str, samples: dict[str, NDArray[Any]]) -> PerfSpec:
    return PerfSpec(
        url=url,
        model=model,
        loads=LOADS,
        samples=samples,
        measurement_interval_s=MEASURE_S,
    )


def _write_results(result: DemoResult) -> None:
    results = result.folder / "results"
    results.mkdir(exist_ok=True)
    for model, load in result.loads.items():
        write_text(results / f"{model}.json", load.as_text())
    summary = json.dumps(result.summary(), indent=2) + "\n"
    write_text(result.folder / "summary.json", summary)
