"""A tensor's name, dtype and shape, in the words of ONNX, Triton and NumPy."""

from __future__ import annotations

from dataclasses import dataclass

from triton_kit.errors import SpecError, did_you_mean

Shape = tuple[int, ...]

DYNAMIC = -1


@dataclass(frozen=True, slots=True)
class DataType:
    """One element type under the names that the tools around Triton give it.

    Attributes:
        name: the KServe v2 protocol's name (`FP32`, `BYTES`).
        config: the name in config.pbtxt (`TYPE_FP32`, `TYPE_STRING`).
        numpy: the NumPy dtype of its values; `bfloat16` has none and travels as
            `uint16` words, strings are `object` arrays of bytes.
        onnx: the number in ONNX's TensorProto.DataType.
        item_bytes: bytes of one element; None for strings, which differ.
    """

    name: str
    config: str
    numpy: str
    onnx: int
    item_bytes: int | None


DATA_TYPES: tuple[DataType, ...] = (
    DataType("BOOL", "TYPE_BOOL", "bool", 9, 1),
    DataType("UINT8", "TYPE_UINT8", "uint8", 2, 1),
    DataType("UINT16", "TYPE_UINT16", "uint16", 4, 2),
    DataType("UINT32", "TYPE_UINT32", "uint32", 12, 4),
    DataType("UINT64", "TYPE_UINT64", "uint64", 13, 8),
    DataType("INT8", "TYPE_INT8", "int8", 3, 1),
    DataType("INT16", "TYPE_INT16", "int16", 5, 2),
    DataType("INT32", "TYPE_INT32", "int32", 6, 4),
    DataType("INT64", "TYPE_INT64", "int64", 7, 8),
    DataType("FP16", "TYPE_FP16", "float16", 10, 2),
    DataType("FP32", "TYPE_FP32", "float32", 1, 4),
    DataType("FP64", "TYPE_FP64", "float64", 11, 8),
    DataType("BF16", "TYPE_BF16", "uint16", 16, 2),
    DataType("BYTES", "TYPE_STRING", "object", 8, None),
)
_BY_ONNX = {dtype.onnx: dtype for dtype in DATA_TYPES}
_BY_NAME = {name: dtype for dtype in DATA_TYPES for name in (dtype.name, dtype.config)}
_BY_NAME["STRING"] = _BY_NAME["BYTES"]


def data_type(name: str) -> DataType:
    """Find a data type by any of its Triton names, in any case (`fp32`, `TYPE_FP32`).

    Raises:
        SpecError: no tensor of Triton has this type.
    """
    found = _BY_NAME.get(name.upper())
    if found is None:
        by_numpy = {dtype.numpy: dtype.name for dtype in reversed(DATA_TYPES)}
        known = [dtype.name for dtype in DATA_TYPES]
        hint = did_you_mean(by_numpy.get(name.lower(), name.upper()), known)
        raise SpecError(f"unknown data type {name!r}", hint=hint)
    return found


def data_type_from_onnx(number: int) -> DataType | None:
    """Find a data type by ONNX's number; None where Triton has no such type."""
    return _BY_ONNX.get(number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One input or output of a model.

    `shape` is the whole shape, batch axis included; -1 is an axis that varies.
    """

    name: str
    dtype: DataType
    shape: Shape

    def __post_init__(self) -> None:
        if any(size < DYNAMIC for size in self.shape):
            raise SpecError(
                f"tensor {self.name!r}: shape {self.shape} has a negative size",
                hint="write -1 for an axis that varies",
            )
