"""Are the answers right? Outputs held against expected ones, within tolerance."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from triton_kit.perf.data import Array
from triton_kit.perf.transport.base import Failure, Request
from triton_kit.perf.wire.grpc_status import PREFIX_BYTES
from triton_kit.perf.wire.tensor_bytes import from_bytes
from triton_kit.tensors import data_type

RELATIVE_TOLERANCE = 1e-4
ABSOLUTE_TOLERANCE = 1e-5

# Reads an answer's outputs, whatever protocol it came by.
Decode = Callable[[bytes], Mapping[str, Array]]


class AnswerCheck:
    """Knows what each request must be answered with."""

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._expected: dict[Request, Mapping[str, Array]] = {}

    def expect(self, request: Request, outputs: Mapping[str, Array]) -> None:
        """Note the right answer to a request."""
        self._expected[request] = outputs

    def __bool__(self) -> bool:
        return any(self._expected.values())

    def __call__(self, request: Request, answer: bytes) -> Failure | None:
        """Return why an answer is wrong, or None."""
        try:
            outputs = self._decode(answer)
        except ValueError as error:
            return Failure("unreadable answer", str(error))
        for name, expected in self._expected[request].items():
            if name not in outputs:
                return Failure("wrong answer", f"no output {name!r}")
            if difference := _difference(outputs[name], expected):
                return Failure("wrong answer", f"{name}: {difference}")
        return None


def _difference(found: Array, expected: Array) -> str | None:
    if found.shape != expected.shape:
        return f"shape {found.shape}, expected {expected.shape}"
    if expected.dtype == np.object_ or expected.dtype.kind in "biu":
        equal = found == expected
    else:
        equal = np.isclose(
            found,
            expected,
            rtol=RELATIVE_TOLERANCE,
            atol=ABSOLUTE_TOLERANCE,
            equal_nan=True,
        )
    if equal.all():
        return None
    place = tuple(int(axis) for axis in np.argwhere(~equal)[0])
    return f"{found[place]!r} at {place}, expected {expected[place]!r}"


def decode_http(answer: bytes) -> dict[str, Array]:
    """Read the outputs of a KServe v2 HTTP answer with binary tensors.

    Raises:
        ValueError: it is not one.
    """
    # Latin-1 keeps a character per byte, so that positions stay what they are.
    front, at = json.JSONDecoder().raw_decode(answer.decode("latin-1"))
    outputs: dict[str, Array] = {}
    for output in front.get("outputs", []):
        dtype = data_type(output["datatype"])
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            array: Array = np.array(output["data"], dtype.numpy)
        else:
            array = from_bytes(answer[at : at + size], dtype)
            at += size
        outputs[output["name"]] = array.reshape(output["shape"])
    return outputs


def decode_grpc(answer: bytes) -> dict[str, Array]:
    """Read the outputs of a ModelInferResponse with raw contents.

    Raises:
        ValueError: it is not one.
    """
    from google.protobuf.message import DecodeError
    from tritonclient.grpc import service_pb2

    try:
        message: Any = service_pb2.ModelInferResponse.FromString(answer[PREFIX_BYTES:])
    except DecodeError as error:
        raise ValueError(str(error)) from error
    return {
        output.name: from_bytes(raw, data_type(output.datatype)).reshape(output.shape)
        for output, raw in zip(
            message.outputs, message.raw_output_contents, strict=True
        )
    }
