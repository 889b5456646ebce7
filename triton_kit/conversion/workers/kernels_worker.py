"""The worker of `precision.kernels`: which operators the installed ONNX Runtime opens.

It opens a model of one node for each operator. ONNX Runtime can list its kernels, but
where the libraries of TensorRT are not installed, the list of the GPU wheel crashes.
Run as a program it adds to the table of the kit: `scripts/kernels`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

Json = Any
_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
_LOW = {"bf16": ("tensor(bfloat16)", TensorProto.BFLOAT16)}
_OTHERS = {
    "tensor(int64)": TensorProto.INT64,
    "tensor(bool)": TensorProto.BOOL,
    "tensor(float)": TensorProto.FLOAT,
    "tensor(uint8)": TensorProto.UINT8,
    "tensor(int8)": TensorProto.INT8,
}
_AttrType = onnx.defs.OpSchema.AttrType
_VALUES: dict[Any, Any] = {
    _AttrType.INT: 1,
    _AttrType.INTS: [1, 1],
    _AttrType.FLOAT: 1.0,
    _AttrType.STRING: "nearest",
}
_NO_KERNEL = ("Could not find an implementation", "Provider type for")


def work(request: dict[str, Json]) -> Json:
    """Return the operators that open in a lower precision.

    The request has `precision`, `opset` and `provider`. The CPU runs what the provider
    does not, as it does in any session.
    """
    provider = request["provider"]
    if provider != _PROVIDERS[-1] and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # of NVIDIA's wheels
    providers = list(dict.fromkeys((provider, _PROVIDERS[-1])))
    models = _models(request["precision"], request["opset"])
    operators = [name for name, model in models if _opens(model, providers)]
    return {"version": ort.__version__, "operators": sorted(operators)}


def _models(precision: str, opset: int) -> Iterator[tuple[str, bytes]]:
    """Yield each operator that takes the precision, and a model of one such node."""
    text, low = _LOW[precision]
    latest = {s.name: s for s in onnx.defs.get_all_schemas() if not s.domain}
    for name in sorted(latest):
        try:
            schema = onnx.defs.get_schema(name, opset, "")
        except onnx.defs.SchemaError:
            continue  # newer than this opset
        formals = (*schema.inputs, *schema.outputs)
        if schema.deprecated or not any(text in f.types for f in formals):
            continue
        yield name, _model(schema, text, low, opset).SerializeToString()


def _model(
    schema: onnx.defs.OpSchema, text: str, low: int, opset: int
) -> onnx.ModelProto:
    optional = onnx.defs.OpSchema.FormalParameterOption.Optional
    inputs, outputs = (
        [
            helper.make_tensor_value_info(
                f"{side}{index}", _type(formal, text, low), None
            )
            for index, formal in enumerate(formals)
            if formal.option != optional
        ]
        for side, formals in (("x", schema.inputs), ("y", schema.outputs))
    )
    attributes = {
        name: _VALUES[attribute.type]
        for name, attribute in schema.attributes.items()
        if attribute.required and attribute.type in _VALUES
    }
    if "to" in attributes:
        attributes["to"] = low
    node = helper.make_node(
        schema.name,
        [value.name for value in inputs],
        [value.name for value in outputs],
        name="only",
        **attributes,
    )
    graph = helper.make_graph([node], "one", inputs, outputs)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _type(formal: onnx.defs.OpSchema.FormalParameter, text: str, low: int) -> int:
    if text in formal.types:
        return low
    return next((t for name, t in _OTHERS.items() if name in formal.types), low)


def _opens(model: bytes, providers: list[str]) -> bool:
    """Say whether a node has a kernel; other complaints are not about kernels."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        ort.InferenceSession(model, options, providers=providers)
    except Exception as error:  # of ONNX Runtime, by any class
        text = str(error)
        return "node" in text and "construct" in text and not _is_missing(text)
    return True


def _is_missing(text: str) -> bool:
    return any(words in text for words in _NO_KERNEL)


def main(table: Path) -> None:
    """Add what this machine's ONNX Runtime opens to the table."""
    known = json.loads(table.read_text()) if table.exists() else {}
    for provider in _PROVIDERS:
        if provider not in ort.get_available_providers():
            continue
        found = work({"precision": "bf16", "opset": 22, "provider": provider})
        known.setdefault(provider, {})[found["version"]] = {"bf16": found["operators"]}
        count = len(found["operators"])
        sys.stdout.write(f"{provider} {found['version']}: {count} operators in bf16\n")
    table.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
