"""Lower float32 to float16 or bfloat16, value by value, in the graph itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
)

from triton_kit.conversion.onnx.onnx_file import (
    all_value_types,
    bodies,
    captured_names,
)
from triton_kit.conversion.onnx.weight_files import array_of, tensor_like
from triton_kit.errors import ConvertError

FLOAT = TensorProto.FLOAT
_TYPES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
_TYPE_STR = {"fp16": "tensor(float16)", "bf16": "tensor(bfloat16)"}
_DTYPES = {"fp16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}
_DTYPE_ATTRIBUTES = ("to", "dtype")  # decide a node's output type
_VALUE_ATTRIBUTES = {
    "Constant": ("value", "value_float", "value_floats"),
    "ConstantOfShape": ("value",),
}
# Their default output type is float32, whatever else the graph holds.
_FLOAT_BY_DEFAULT = {"RandomNormal", "RandomUniform"}
# ONNX Runtime's optimiser gives wrong numbers for quantised graphs with fp16 scales
# that were float32 before (measured: -2.7 dB, no error), so these are left alone.
_QUANTIZERS = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}


_CONTROL_FLOW = "control flow"
# Of bfloat16 bodies no kernel is known to open.
_IN_BODIES = ("fp16",)


@dataclass(slots=True)
class Lowered:
    """The graph in its lower precision, and the nodes that stayed, with the reason."""

    model: ModelProto
    kept: dict[str, str] = field(default_factory=dict)


def lower_floats(model: ModelProto, *, to: str, keep: Mapping[str, str]) -> Lowered:
    """Return a copy whose float32 values are `to` (`fp16`, `bf16`) where possible.

    A value keeps its name in float32 and is called `NAME_fp16` below, so inputs and
    outputs of the graph, and what control-flow bodies capture, stay as they were. A
    Cast stands wherever the two meet.

    Args:
        model: every node has a name of its own.
        to: the lower precision.
        keep: nodes to leave in float32, each with the reason; one in a body is called
            `OUTER/NODE`, and a control-flow node is kept with its bodies.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    types = all_value_types(copy)
    opsets = {o.domain or "": o.version for o in copy.opset_import}
    scope = _Scope(to, types, opsets, dict(keep), set(types))
    _Lowering(copy.graph, scope).run()
    return Lowered(copy, scope.kept)


@dataclass(slots=True)
class _Scope:
    """What the lowerings of a graph and of the bodies in it share."""

    to: str
    types: dict[str, int]
    opsets: dict[str, int]
    kept: dict[str, str]
    names: set[str]


class _Lowering:
    """One pass over a graph, and over the bodies of control-flow nodes in it.

    Inputs and outputs of a body stay float32. A value that a body takes from outside
    is lowered where it is made.
    """

    def __init__(
        self,
        graph: GraphProto,
        scope: _Scope,
        outer: _Lowering | None = None,
        prefix: str = "",
    ) -> None:
        self._graph = graph
        self._scope = scope
        self._to, self._types = scope.to, scope.types
        self._outer = outer
        self._prefix = prefix
        self._own = {value.name for value in (*graph.input, *graph.initializer)}
        self._own.update(name for node in graph.node for name in node.output)
        self._low: dict[str, str] = {}
        self._wants_low: set[str] = set()

    def run(self) -> None:
        """Lower the graph in place."""
        graph = self._graph
        lowered = [node for node in graph.node if self._can_lower(node)]
        names = {node.name for node in lowered}
        wants_high = {output.name for output in graph.output}
        for node in graph.node:
            if self._to in _IN_BODIES and self._reason(node) in (None, _CONTROL_FLOW):
                for body in bodies(node):
                    prefix = f"{self._prefix}{node.name}/"
                    _Lowering(body, self._scope, self, prefix).run()
            slots = self._low_slots(node) if node.name in names else set[int]()
            for slot, name in enumerate(node.input):
                if not self._is_float(name):
                    continue
                if slot in slots:
                    node.input[slot] = self.lower_name(name)
                else:
                    wants_high.add(name)
        self._rebuild(names, wants_high | captured_names(graph))

    def lower_name(self, name: str) -> str:
        """Return the name of a value's lower form, which is made where the value is."""
        if self._outer and name not in self._own:
            return self._outer.lower_name(name)
        self._wants_low.add(name)
        return self._low_name(name)

    def _reason(self, node: NodeProto) -> str | None:
        return self._scope.kept.get(f"{self._prefix}{node.name}")

    def _is_float(self, name: str) -> bool:
        return bool(name) and self._types.get(name) == FLOAT

    def _low_name(self, name: str) -> str:
        if name not in self._low:
            low = f"{name}_{self._to}"
            while low in self._scope.names:
                low += "_"
            self._scope.names.add(low)
            self._low[name] = low
        return self._low[name]

    def _can_lower(self, node: NodeProto) -> bool:
        """Decide for one node; note why not, where it touches float32 at all."""
        floats = [n for n in (*node.input, *node.output) if self._is_float(n)]
        if not floats or self._reason(node):
            return False
        reason = self._obstacle(node)
        if reason:
            self._scope.kept[f"{self._prefix}{node.name}"] = reason
        return reason is None

    def _obstacle(self, node: NodeProto) -> str | None:
        if bodies(node):
            return _CONTROL_FLOW
        if node.op_type in _QUANTIZERS:
            return "quantised before"
        if any(n and n not in self._types for n in (*node.input, *node.output)):
            return "a value of unknown type"
        schema = self._schema(node)
        if schema is None:
            return f"no schema of {node.domain or 'onnx'}:{node.op_type}"
        for slot, name in enumerate(node.output):
            if self._is_float(name) and not self._takes(schema.outputs, slot):
                return f"{node.op_type} has no {self._to} output in this opset"
        if not self._low_slots(node) and not any(map(self._is_float, node.output)):
            return f"{node.op_type} takes float32 only"
        return None

    def _low_slots(self, node: NodeProto) -> set[int]:
        schema = self._schema(node)
        if schema is None:
            return set()
        return {
            slot
            for slot, name in enumerate(node.input)
            if self._is_float(name) and self._takes(schema.inputs, slot)
        }

    def _schema(self, node: NodeProto) -> onnx.defs.OpSchema | None:
        domain = "" if node.domain == "ai.onnx" else node.domain
        version = self._scope.opsets.get(domain, 0)
        try:
            return onnx.defs.get_schema(node.op_type, version, domain)
        except onnx.defs.SchemaError:
            return None

    def _takes(
        self,
        formals: Sequence[onnx.defs.OpSchema.FormalParameter],
        slot: int,
    ) -> bool:
        """Say whether a slot takes the lower type; the last one may be variadic."""
        formal = formals[min(slot, len(formals) - 1)]
        return _TYPE_STR[self._to] in formal.types

    def _rebuild(self, lowered: Set[str], wants_high: Set[str]) -> None:
        graph, wants_low = self._graph, self._wants_low
        nodes: list[NodeProto] = [
            self._cast(value.name, down=True)
            for value in graph.input
            if value.name in wants_low and not self._is_initializer(value.name)
        ]
        for node in graph.node:
            nodes.append(node)
            if node.name in lowered:
                nodes += self._lower_outputs(node, wants_high)
            else:
                nodes += [
                    self._cast(name, down=True)
                    for name in node.output
                    if name in wants_low
                ]
        self._lower_initializers(wants_high)
        del graph.node[:]
        graph.node.extend(nodes)
        del graph.value_info[:]  # stale types; later passes infer them again

    def _is_initializer(self, name: str) -> bool:
        return any(tensor.name == name for tensor in self._graph.initializer)

    def _lower_outputs(self, node: NodeProto, wants_high: Set[str]) -> list[NodeProto]:
        if any(self._is_float(name) for name in node.output):
            _lower_attributes(node, self._to)
        casts = []
        for slot, name in enumerate(node.output):
            if not self._is_float(name):
                continue
            node.output[slot] = self._low_name(name)
            if name in wants_high:
                casts.append(self._cast(name, down=False))
        return casts

    def _cast(self, name: str, *, down: bool) -> NodeProto:
        low = self._low_name(name)
        ends = (name, low) if down else (low, name)
        return helper.make_node(
            "Cast",
            [ends[0]],
            [ends[1]],
            name=f"cast_{ends[1]}",
            to=_TYPES[self._to] if down else FLOAT,
        )

    def _lower_initializers(self, wants_high: Set[str]) -> None:
        graph, wants_low = self._graph, self._wants_low
        kept = []
        for tensor in graph.initializer:
            if tensor.name in wants_low:
                kept.append(self._lower_tensor(tensor))
            if tensor.name in wants_high or tensor.name not in wants_low:
                kept.append(tensor)
        names = {tensor.name for tensor in kept}
        gone = {t.name for t in graph.initializer} - names
        inputs = [value for value in graph.input if value.name not in gone]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        del graph.input[:]
        graph.input.extend(inputs)

    def _lower_tensor(self, tensor: TensorProto) -> TensorProto:
        values = lower_array(array_of(tensor), self._to, tensor.name)
        return tensor_like(tensor, values, self._low_name(tensor.name))


def lower_array(values: NDArray[np.float32], to: str, name: str) -> NDArray[np.generic]:
    """Round float32 values to `to`.

    Raises:
        ConvertError: a finite value would become infinite. Nothing is clamped: a
            clamped weight is an error that no message shows.
    """
    with np.errstate(over="ignore"):
        lowered: NDArray[np.generic] = values.astype(_DTYPES[to])
    grown = np.isfinite(values) & ~np.isfinite(lowered.astype(np.float32))
    if grown.any():
        raise ConvertError(
            f"{name!r} holds {values[grown].flat[0]:g}, which {to} cannot",
            hint="keep the nodes that use it in fp32",
        )
    return lowered


def _lower_attributes(node: NodeProto, to: str) -> None:
    if node.op_type == "ConstantOfShape" and not node.attribute:
        zero = numpy_helper.from_array(np.zeros(1, _DTYPES[to]))
        node.attribute.append(helper.make_attribute("value", zero))
    for attribute in node.attribute:
        if attribute.name in _DTYPE_ATTRIBUTES and attribute.i == FLOAT:
            attribute.i = _TYPES[to]
        elif attribute.name in _VALUE_ATTRIBUTES.get(node.op_type, ()):
            attribute.CopyFrom(_lower_value(attribute, to, node.name))
    names = {attribute.name for attribute in node.attribute}
    if node.op_type in _FLOAT_BY_DEFAULT and "dtype" not in names:
        node.attribute.append(helper.make_attribute("dtype", _TYPES[to]))


_READERS: dict[int, Callable[[AttributeProto], NDArray[np.float32]]] = {
    AttributeProto.TENSOR: lambda a: numpy_helper.to_array(a.t),
    AttributeProto.FLOAT: lambda a: np.array(a.f, np.float32),
    AttributeProto.FLOATS: lambda a: np.array(a.floats, np.float32),
}


def _lower_value(attribute: AttributeProto, to: str, name: str) -> AttributeProto:
    values = _READERS[attribute.type](attribute)
    tensor = numpy_helper.from_array(lower_array(values, to, name))
    return helper.make_attribute("value", tensor)
