"""The worker of `profile`: runs a model and says where its time goes.

ONNX files run in ONNX Runtime under its own profiler; engines, and ONNX files that are
built into one for the purpose, in TensorRT under its own.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from triton_kit.artifact import inspect_onnx
from triton_kit.conversion.workers.memory import peak_memory_bytes
from triton_kit.conversion.workers.onnx_worker import quiet_options
from triton_kit.conversion.workers.samples import Feed, random_feed
from triton_kit.conversion.workers.worker import Json, Request
from triton_kit.scratch import scratch_folder

Native = Any  # modules and objects of TensorRT and Polygraphy, which have no types
_KERNEL = "_kernel_time"


def in_onnxruntime(request: Request) -> dict[str, Json]:
    """Run an ONNX file, and add up the time of every node."""
    import onnxruntime as ort

    before_bytes = peak_memory_bytes()
    with scratch_folder() as folder:
        options = quiet_options(request["level"])
        options.enable_profiling = True
        options.profile_file_prefix = f"{folder}/profile"
        session = ort.InferenceSession(
            request["file"],
            options,
            providers=_providers(ort.get_available_providers()),
        )
        feed = _feed(request)
        for _ in range(request["warm_up"] + request["runs"]):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return {
        "runtime": f"onnxruntime {ort.__version__}",
        "providers": session.get_providers(),
        "peak_memory_bytes": peak_memory_bytes(),
        "model_memory_bytes": peak_memory_bytes() - before_bytes,
        **onnxruntime_times(events, warm_up=request["warm_up"]),
    }


def _providers(there: list[str]) -> list[str]:
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    return [name for name in wanted if name in there]


def onnxruntime_times(events: list[Json], *, warm_up: int) -> dict[str, Json]:
    """Add up the events of ONNX Runtime's profiler, those of the warm-up left out."""
    all_runs = sorted(
        (e for e in events if e["name"] == "model_run"), key=lambda e: e["ts"]
    )
    runs = all_runs[warm_up:]
    durations_us: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for event in events:
        is_kernel = event.get("cat") == "Node" and event["name"].endswith(_KERNEL)
        if is_kernel and event["ts"] >= runs[0]["ts"]:
            args = event["args"]
            name = event["name"].removesuffix(_KERNEL)
            key = (name, args["op_name"], args["provider"])
            durations_us[key].append(event["dur"])
    rows = [
        {"name": name, "op": op, "provider": provider, "durations_us": us}
        for (name, op, provider), us in durations_us.items()
    ]
    return {
        "runs": len(runs),
        "run_us": median(e["dur"] for e in runs),
        "nodes": _shares(rows),
    }


def _shares(rows: list[dict[str, Json]]) -> list[dict[str, Json]]:
    """Turn durations into calls, their median and their share; the slowest first.

    A mean would show a node that was held up once as slow.
    """
    for row in rows:
        us = row.pop("durations_us")
        row |= {"calls": len(us), "median_us": median(us)}
    total_us = sum(row["calls"] * row["median_us"] for row in rows) or 1.0
    for row in rows:
        row["share"] = row["calls"] * row["median_us"] / total_us
    return sorted(rows, key=lambda row: -float(row["share"]))


def _feed(request: Request) -> Feed:
    inputs = inspect_onnx(Path(request["file"])).inputs
    shapes = {name: tuple(shape) for name, shape in request["shapes"].items()}
    return random_feed(inputs, shapes, np.random.default_rng(0), {})


def in_tensorrt(request: Request) -> dict[str, Json]:
    """Run an engine, or an ONNX file built into one, and time every layer."""
    trt = import_module("tensorrt_rtx" if request["backend"] == "rtx" else "tensorrt")
    from polygraphy.backend.trt import TrtRunner

    is_onnx = request["what"] == "tensorrt"
    load = _built(request) if is_onnx else _opened(request)
    layers = _layer_times(trt)
    with TrtRunner(load) as runner:
        feed = _feed(request) if is_onnx else _engine_feed(trt, runner.engine, request)
        for _ in range(request["warm_up"]):
            runner.infer(feed)
        runner.context.profiler = layers
        for _ in range(request["runs"]):
            runner.infer(feed)
        memory_bytes = getattr(runner.engine, "device_memory_size_v2", None)
    rows = [{"name": n, "durations_us": us} for n, us in layers.durations_us.items()]
    return {
        "runtime": f"{trt.__name__} {trt.__version__}",
        "runs": request["runs"],
        "shapes": {name: list(array.shape) for name, array in feed.items()},
        "run_us": sum(sum(row["durations_us"]) for row in rows) / request["runs"],
        "context_memory_bytes": memory_bytes,
        "peak_memory_bytes": peak_memory_bytes(),
        "nodes": _shares([{"op": "", "provider": "GPU"} | row for row in rows]),
    }


def _layer_times(trt: Native) -> Native:
    class LayerTimes(trt.IProfiler):  # type: ignore[misc]  # TensorRT has no types
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.durations_us: dict[str, list[float]] = defaultdict(list)

        def report_layer_time(self, name: str, ms: float) -> None:
            self.durations_us[name].append(ms * 1000)

    return LayerTimes()


def _opened(request: Request) -> Callable[[], Native]:
    from polygraphy.backend.trt import EngineFromBytes

    loader: Callable[[], Native] = EngineFromBytes(Path(request["file"]).read_bytes())
    return loader


def _built(request: Request) -> Callable[[], Native]:
    from polygraphy.backend.trt import (
        CreateConfig,
        EngineFromNetwork,
        NetworkFromOnnxPath,
        Profile,
    )

    profile = Profile()
    for name, shape in request["shapes"].items():
        profile.add(name, tuple(shape), tuple(shape), tuple(shape))
    loader: Callable[[], Native] = EngineFromNetwork(
        NetworkFromOnnxPath(request["file"], strongly_typed=True),
        config=CreateConfig(profiles=[profile]),
    )
    return loader


def _engine_feed(trt: Native, engine: Native, request: Request) -> Feed:
    """Draw values of the first profile's optimal shapes, or of those asked for."""
    rng, feed = np.random.default_rng(0), {}
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    for name in names:
        if engine.get_tensor_mode(name) != trt.TensorIOMode.INPUT:
            continue
        best = engine.get_tensor_profile_shape(name, 0)[1]
        shape = tuple(request["shapes"].get(name, best))
        dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
        drawn = rng.standard_normal(shape) if dtype.kind == "f" else np.zeros(shape)
        feed[name] = drawn.astype(dtype)
    return feed


def work(request: Request) -> Json:
    """Profile a model in the runtime that the request names."""
    if request.get("backend") == "rtx":
        # Polygraphy reads it once, at import.
        os.environ["POLYGRAPHY_USE_TENSORRT_RTX"] = "1"
    return (in_onnxruntime if request["what"] == "onnx" else in_tensorrt)(request)
