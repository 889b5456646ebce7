"""Compares the outputs of responses with expected ones, within a tolerance."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from triton_kit.loadtest.inputs.data import Array
from triton_kit.loadtest.request import Failure, Request

RELATIVE_TOLERANCE = 1e-4
ABSOLUTE_TOLERANCE = 1e-5

Outputs = Mapping[str, Array]
# Reads a response's outputs, whatever protocol it came by.
Decode = Callable[[bytes], Outputs]
# Brings outputs, found or expected, into the form in which they are compared.
Form = Callable[[Outputs], Outputs]


def whole(outputs: Outputs) -> Outputs:
    """Compare outputs as they are, shapes included."""
    return outputs


def flat(outputs: Outputs) -> Outputs:
    """Compare the values in their order: plain JSON has no shapes."""
    return {name: array.ravel() for name, array in outputs.items()}


def joined(outputs: Outputs) -> Outputs:
    """Compare what a whole stream gave: its values in their order, its text as one."""
    return {name: _joined(array.ravel()) for name, array in outputs.items()}


def _joined(values: Array) -> Array:
    if values.dtype != np.object_:
        return values
    text: Array = np.empty(1, np.object_)
    text[0] = b"".join(values)
    return text


class OutputCheck:
    """Knows the outputs that each request must get."""

    def __init__(self, decode: Decode, form: Form = whole) -> None:
        self._decode = decode
        self._form = form
        self._expected: dict[Request, Mapping[str, Array]] = {}

    def expect(self, request: Request, outputs: Mapping[str, Array]) -> None:
        """Note the right response to a request."""
        self._expected[request] = self._form(outputs)

    def __bool__(self) -> bool:
        return any(self._expected.values())

    def __call__(self, request: Request, response: bytes) -> Failure | None:
        """Return why a response is wrong, or None."""
        try:
            outputs = self._form(self._decode(response))
        except ValueError as error:
            return Failure("unreadable response", str(error))
        for name, expected in self._expected[request].items():
            if name not in outputs:
                return Failure("wrong response", f"no output {name!r}")
            if difference := _difference(outputs[name], expected):
                return Failure("wrong response", f"{name}: {difference}")
        return None


def _difference(found: Array, expected: Array) -> str | None:
    if found.shape != expected.shape:
        return f"shape {found.shape}, expected {expected.shape}"
    if expected.dtype == np.object_ or expected.dtype.kind in "biu":
        equal = found == expected
    elif found.dtype.kind not in "biuf":
        return f"{found.dtype}, expected numbers"
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
