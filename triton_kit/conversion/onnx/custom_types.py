"""Types of what custom operators give, which onnx's own inference does not know."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from triton_kit.conversion.onnx.onnx_file import save_for_worker
from triton_kit.conversion.workers.child import (
    call_worker,
    conversion_failed,
)
from triton_kit.errors import ConvertError

_FLOATS = {
    "tensor(float)": TensorProto.FLOAT,
    "tensor(float16)": TensorProto.FLOAT16,
    "tensor(bfloat16)": TensorProto.BFLOAT16,
    "tensor(double)": TensorProto.DOUBLE,
}


def add_custom_types(model: ModelProto, *, scratch: Path, timeout_s: float) -> None:
    """Add the float types of custom operators' outputs, in place, as ONNX Runtime says.

    Where it does not open the graph, nothing is added: running the graph tells why.
    """
    graph = model.graph
    typed = [v for v in graph.value_info if v.type.WhichOneof("value")]
    known = {value.name for value in (*typed, *graph.output)}
    names = [
        name
        for node in graph.node
        if not onnx.defs.has(node.op_type, node.domain)
        for name in node.output
        if name and name not in known
    ]
    if not names:
        return
    del graph.value_info[:]
    graph.value_info.extend(typed)
    copy = ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.extend(ValueInfoProto(name=name) for name in names)
    path = scratch / "custom_types.onnx"
    save_for_worker(copy, path)
    try:
        types = call_worker(
            "workers.types_worker",
            {"model": str(path)},
            timeout_s=timeout_s,
            failed=conversion_failed("ONNX Runtime does not open it"),
            preloaded=True,
        )
    except ConvertError:
        return
    graph.value_info.extend(
        helper.make_tensor_value_info(name, _FLOATS[types[name]], None)
        for name in names
        if types[name] in _FLOATS
    )
