"""The worker of `describe`: asks TensorRT's parser, opens engines."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from triton_kit.conversion.workers.worker import Json, Request


def parse(request: Request) -> dict[str, Json]:
    """Say whether the parser takes the graph; if not, what it says of each node."""
    trt = _module(request["backend"])
    builder = trt.Builder(trt.Logger(trt.Logger.INTERNAL_ERROR))
    flags = 0
    if hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, trt.Logger(trt.Logger.INTERNAL_ERROR))
    supported = parser.parse_from_file(request["file"])
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    return {
        "supported": bool(supported),
        "errors": [
            f"{e.node_operator() or 'graph'} {e.node_name()!r}: {e.desc()}".strip()
            for e in errors
        ],
    }


def _module(backend: str) -> Any:  # noqa: ANN401  TensorRT has no types
    return import_module("tensorrt_rtx" if backend == "rtx" else "tensorrt")


def layers(request: Request) -> dict[str, Json]:
    """Open an engine, which takes its GPU, and list its layers."""
    trt = _module(request["backend"])
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    engine = runtime.deserialize_cuda_engine(Path(request["file"]).read_bytes())
    if engine is None:
        raise RuntimeError("TensorRT cannot deserialize it")
    text = engine.create_engine_inspector().get_engine_information(
        trt.LayerInformationFormat.JSON
    )
    return {
        "layers": json.loads(text).get("Layers", []),
        "profiles": engine.num_optimization_profiles,
    }


_WORK = {"parse": parse, "layers": layers}


def work(request: Request) -> dict[str, Json]:
    """Do what the request names."""
    return _WORK[request["what"]](request)
