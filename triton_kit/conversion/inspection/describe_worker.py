"""The child of `describe`: asks TensorRT's parser, opens engines."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from triton_kit.conversion.workers.worker import Json, Order, do_order


def parse(order: Order) -> dict[str, Json]:
    """Say whether the parser takes the graph; if not, what it says of each node."""
    trt = _module(order["backend"])
    builder = trt.Builder(trt.Logger(trt.Logger.INTERNAL_ERROR))
    flags = 0
    if hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, trt.Logger(trt.Logger.INTERNAL_ERROR))
    supported = parser.parse_from_file(order["file"])
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


def layers(order: Order) -> dict[str, Json]:
    """Open an engine, which takes its GPU, and list its layers."""
    trt = _module(order["backend"])
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    engine = runtime.deserialize_cuda_engine(Path(order["file"]).read_bytes())
    if engine is None:
        raise RuntimeError("it does not deserialise")
    text = engine.create_engine_inspector().get_engine_information(
        trt.LayerInformationFormat.JSON
    )
    return {
        "layers": json.loads(text).get("Layers", []),
        "profiles": engine.num_optimization_profiles,
    }


_WORK = {"parse": parse, "layers": layers}


if __name__ == "__main__":
    do_order(lambda order: _WORK[order["what"]](order))
