"""What a model file says of itself: an ONNX graph's tensors, a plan's TensorRT version.

Both are read straight from the bytes: an ONNX file of gigabytes costs as much as its
node list, and neither onnx nor TensorRT is imported.
"""

from __future__ import annotations

import mmap
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from triton_kit.errors import ConvertError, SpecError
from triton_kit.tensors import DYNAMIC, Tensor, data_type_from_onnx
from triton_kit.wire import WireError, as_bytes, as_int, as_text, fields

# ONNX's TensorProto.DataType, for the types that Triton's tensors do not have.
_FOREIGN_TYPES = {
    14: "COMPLEX64",
    15: "COMPLEX128",
    17: "FLOAT8E4M3FN",
    18: "FLOAT8E4M3FNUZ",
    19: "FLOAT8E5M2",
    20: "FLOAT8E5M2FNUZ",
    21: "UINT4",
    22: "INT4",
    23: "FLOAT4E2M1",
}
_VALUE_KINDS = {4: "a sequence", 5: "a map", 8: "a sparse tensor", 9: "an optional"}
_PLAN_MAGIC = {b"ftrt": "tensorrt", b"vtrt": "tensorrt-rtx"}
_PLAN_HEADER_BYTES = 28
_OVERRIDABLE_SINCE = 4  # before, every initialiser had to be an input


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxModel:
    """The outside of an ONNX graph.

    Attributes:
        inputs: what a caller must send; initialisers that are also listed as inputs
            are not among them. Unknown and symbolic sizes are -1.
        outputs: what a caller gets.
        overridable: initialisers that a caller may send instead: they are listed as
            inputs, in a file of format version 4 or later.
        opset: the version of the default operator set.
        opsets: the version of every operator set, by domain.
        ir_version: the version of the file format.
        producer: the tool that wrote the file, with its version, where it says so.
        metadata: the file's own key/value notes.
        axis_names: the names of symbolic axes by tensor; None where an axis has none.
        unranked: names of tensors without any shape; their `shape` is empty here.
        external_files: weight files beside the model, as the graph names them.
        weight_types: ONNX's numbers of its weights' data types.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    opset: int
    opsets: Mapping[str, int] = field(default_factory=dict)
    ir_version: int = 0
    producer: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    axis_names: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    unranked: frozenset[str] = frozenset()
    external_files: tuple[str, ...] = ()
    overridable: tuple[Tensor, ...] = ()
    weight_types: frozenset[int] = frozenset()

    @property
    def has_bf16_border(self) -> bool:
        """Whether an input or output is bfloat16, which NumPy has not."""
        return any(t.dtype.name == "BF16" for t in (*self.inputs, *self.outputs))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanHeader:
    """The first bytes of a serialised TensorRT engine.

    Attributes:
        kind: `tensorrt`, or `tensorrt-rtx`, whose engines Triton cannot load.
        version: the four numbers of the TensorRT that built it.
    """

    kind: str
    version: tuple[int, int, int, int]

    @property
    def version_text(self) -> str:
        """The version as people write it: `10.5.0.18`."""
        return ".".join(str(number) for number in self.version)


def inspect_onnx(path: Path) -> OnnxModel:
    """Read the inputs, outputs and opset of an ONNX file, and none of its weights.

    Raises:
        ConvertError: the file is missing, a folder, cut short, no ONNX model, or has an
            input or output that is no tensor of Triton.
    """
    with _mapped(path, "an ONNX model") as view:
        try:
            return _onnx_model(view, path)
        except WireError as error:
            raise ConvertError(
                f"{path}: not an ONNX model, or cut short: {error}",
                hint="export it again, or compare its size with the source",
            ) from error


def is_plan(path: Path) -> bool:
    """Say whether a file begins as a plan or an engine of TensorRT for RTX does."""
    with path.open("rb") as file:
        return file.read(4) in _PLAN_MAGIC


def inspect_plan(path: Path) -> PlanHeader:
    """Read which TensorRT built a plan.

    Raises:
        ConvertError: the file is missing, a folder, too short, or no plan.
    """
    with _mapped(path, "a TensorRT plan") as view:
        head = bytes(view[:_PLAN_HEADER_BYTES])
        found_bytes = len(view)
    kind = _PLAN_MAGIC.get(head[:4])
    if kind is None or len(head) < _PLAN_HEADER_BYTES:
        raise ConvertError(
            f"{path}: not a TensorRT plan: it begins with {head[:4]!r}",
            hint="a plan is what trtexec --saveEngine or triton-kit build writes",
        )
    stated_bytes = int.from_bytes(head[16:24], "little")
    # Only RTX was seen to state it.
    if kind == "tensorrt-rtx" and stated_bytes > found_bytes:
        raise ConvertError(
            f"{path}: cut short: {found_bytes} bytes, its header says {stated_bytes}",
            hint="copy it again",
        )
    major, minor, patch, build = head[24:28]
    return PlanHeader(kind=kind, version=(major, minor, patch, build))


@contextmanager
def _mapped(path: Path, what: str) -> Iterator[memoryview]:
    """Open a file as bytes that are read from disk only where they are looked at."""
    try:
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            # To open a pipe would wait for ever.
            raise ConvertError(f"{path}: not {what}: it is no regular file")
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size == 0:
                raise ConvertError(f"{path}: not {what}: the file is empty")
            # Not closed here: an error's traceback may still hold slices of it.
            yield memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise ConvertError(
            f"{path}: cannot be read as {what}: {error.strerror}"
        ) from error


@dataclass(slots=True)
class _Value:
    """An input or output while it is being read."""

    name: str
    kind: str = ""
    onnx_type: int = 0
    sizes: tuple[int, ...] | None = None
    axis_names: tuple[str | None, ...] = ()


@dataclass(slots=True)
class _Graph:
    """The parts of a GraphProto that face outwards."""

    inputs: list[_Value] = field(default_factory=list)
    outputs: list[_Value] = field(default_factory=list)
    initializers: set[str] = field(default_factory=set)
    external: list[str] = field(default_factory=list)
    weight_types: set[int] = field(default_factory=set)


def _onnx_model(view: memoryview, path: Path) -> OnnxModel:
    ir_version, producer, graph = 0, ["", ""], None
    opsets: dict[str, int] = {}
    metadata: dict[str, str] = {}
    for number, value in fields(view):
        if number == 1:
            ir_version = as_int(value)
        elif number in (2, 3):
            producer[number - 2] = as_text(value)
        elif number == 7:
            graph = _graph(as_bytes(value))
        elif number == 8:
            domain, version = _opset(as_bytes(value))
            opsets[domain] = version
        elif number == 14:
            key, note = _pair(as_bytes(value))
            metadata[key] = note
    if graph is None or not ir_version or not opsets:
        raise WireError("it has no graph, no format version or no opset")
    values = [v for v in graph.inputs if v.name not in graph.initializers]
    defaults = [v for v in graph.inputs if v.name in graph.initializers]
    return OnnxModel(
        inputs=tuple(_tensor(value, path) for value in values),
        outputs=tuple(_tensor(value, path) for value in graph.outputs),
        opset=opsets.get("", opsets.get("ai.onnx", 0)),
        opsets=opsets,
        ir_version=ir_version,
        producer=" ".join(filter(None, producer)),
        metadata=metadata,
        axis_names={v.name: v.axis_names for v in (*values, *graph.outputs)},
        unranked=frozenset(
            v.name for v in (*values, *graph.outputs) if v.sizes is None
        ),
        external_files=tuple(dict.fromkeys(graph.external)),
        weight_types=frozenset(graph.weight_types),
        overridable=tuple(_tensor(value, path) for value in defaults)
        if ir_version >= _OVERRIDABLE_SINCE
        else (),
    )


def _tensor(value: _Value, path: Path) -> Tensor:
    if value.kind != "tensor":
        raise ConvertError(
            f"{path}: {value.name!r} is {value.kind or 'of no type'}, not a tensor",
            hint="Triton serves tensors: export the model without it (zipmap=False "
            "for scikit-learn)",
        )
    dtype = data_type_from_onnx(value.onnx_type)
    if dtype is None:
        found = _FOREIGN_TYPES.get(value.onnx_type, f"number {value.onnx_type}")
        raise ConvertError(
            f"{path}: {value.name!r} has data type {found}, which Triton lacks",
            hint="cast it inside the graph",
        )
    try:
        return Tensor(name=value.name, dtype=dtype, shape=value.sizes or ())
    except SpecError as error:
        raise ConvertError(f"{path}: {error.message}", hint=error.hint) from error


def _graph(view: memoryview) -> _Graph:
    graph = _Graph()
    for number, value in fields(view):
        if number == 5:
            name, kind, external = _initializer(as_bytes(value))
            graph.initializers.add(name)
            graph.weight_types.add(kind)
            graph.external += external
        elif number == 11:
            graph.inputs.append(_value_info(as_bytes(value)))
        elif number == 12:
            graph.outputs.append(_value_info(as_bytes(value)))
        elif number == 15:  # a sparse initialiser: its values carry the name
            for inner, dense in fields(as_bytes(value)):
                if inner == 1:
                    graph.initializers.add(_initializer(as_bytes(dense))[0])
    return graph


def _initializer(view: memoryview) -> tuple[str, int, list[str]]:
    name, kind, external = "", 0, []
    for number, value in fields(view):
        if number == 2:
            kind = as_int(value)
        elif number == 8:
            name = as_text(value)
        elif number == 13:
            key, note = _pair(as_bytes(value))
            if key == "location":
                external.append(note)
    return name, kind, external


def _value_info(view: memoryview) -> _Value:
    found = _Value(name="")
    for number, value in fields(view):
        if number == 1:
            found.name = as_text(value)
        elif number == 2:
            for kind, inner in fields(as_bytes(value)):
                if kind == 1:
                    found.kind = "tensor"
                    _read_tensor_type(found, as_bytes(inner))
                elif kind in _VALUE_KINDS:
                    found.kind = _VALUE_KINDS[kind]
    return found


def _read_tensor_type(found: _Value, view: memoryview) -> None:
    for number, value in fields(view):
        if number == 1:
            found.onnx_type = as_int(value)
        elif number == 2:
            axes = [_axis(as_bytes(a)) for n, a in fields(as_bytes(value)) if n == 1]
            found.sizes = tuple(size for size, _ in axes)
            found.axis_names = tuple(name for _, name in axes)


def _axis(view: memoryview) -> tuple[int, str | None]:
    size, name = DYNAMIC, None
    for number, value in fields(view):
        if number == 1:
            # 64-bit two's complement: exporters write -1 for an unknown size.
            size = as_int(value)
            size = DYNAMIC if size >= 1 << 63 else size
        elif number == 2:
            name = as_text(value) or None
    return size, name


def _opset(view: memoryview) -> tuple[str, int]:
    domain, version = "", 0
    for number, value in fields(view):
        if number == 1:
            domain = as_text(value)
        elif number == 2:
            version = as_int(value)
    return domain, version


def _pair(view: memoryview) -> tuple[str, str]:
    found = {number: value for number, value in fields(view)}
    return as_text(found.get(1, b"")), as_text(found.get(2, b""))
