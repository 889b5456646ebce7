"""How the values of one input are made: at random, all zero, all the same."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from triton_kit.errors import SpecError
from triton_kit.loadtest.inputs.data import (
    STRING_LENGTH,
    Array,
    Draw,
    constant_array,
    random_array,
)
from triton_kit.tensors import DataType, Shape, Tensor

_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_BF16_HALF = 0x7FFF  # what rounds the lower half of a float32 word to the nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class StringData:
    """What random strings are: `length` letters, or always `text`."""

    text: str | None = None
    length: int = STRING_LENGTH

    def __post_init__(self) -> None:
        if self.length < 0:
            raise SpecError(f"string length {self.length}: need 0 or more")


def at_random(tensor: Tensor, strings: StringData) -> Draw:
    """Draw values as `random_array` does; strings as the user asked."""
    dtype = tensor.dtype
    if dtype.item_bytes is None and strings.text is not None:
        return always(_as_given(strings.text), dtype)
    return lambda shape, generator: random_array(
        dtype, shape, generator, string_length=strings.length
    )


def within(tensor: Tensor, low: str, high: str) -> Draw:
    """Draw values of at least `low` and below `high`, as they were written.

    Raises:
        SpecError: they are no range of this type.
    """
    dtype = tensor.dtype
    where = f"--input-data {tensor.name}:random:{low}:{high}"
    if dtype.item_bytes is None or dtype.name == "BOOL":
        raise SpecError(
            f"{where}: {dtype.name} has no range",
            hint=f"a text as {tensor.name}:value:TEXT",
        )
    least, end = number(low, dtype, where), number(high, dtype, where, is_end=True)
    if not 0 < end - least < math.inf:
        raise SpecError(f"{where}: need LOW < HIGH, both finite")
    if isinstance(least, int) and isinstance(end, int):
        kind = np.dtype(dtype.numpy)
        return lambda shape, generator: generator.integers(
            least, end, shape, dtype=kind.type
        )
    return lambda shape, generator: as_floats(
        generator.uniform(least, end, shape), dtype
    )


def zero(tensor: Tensor) -> Draw:
    """Zeros, false, empty strings."""
    return always(b"" if tensor.dtype.item_bytes is None else 0, tensor.dtype)


def value(tensor: Tensor, text: str, where: str) -> Draw:
    """One value for all elements.

    Raises:
        SpecError: it is none of this type.
    """
    dtype = tensor.dtype
    if dtype.item_bytes is None:
        return always(_as_given(text), dtype)
    if dtype.name == "BOOL":
        if text.lower() not in _TRUTHS:
            raise SpecError(f"{where}: {text!r} is no BOOL", hint="true or false")
        return always(_TRUTHS[text.lower()], dtype)
    found = number(text, dtype, where)
    if isinstance(found, int):
        return always(found, dtype)
    return always(as_floats(np.array([found]), dtype)[0], dtype)


def _as_given(text: str) -> bytes:
    """Return the bytes of a word of the command line, UTF-8 or not."""
    return text.encode(errors="surrogateescape")


def always(item: object, dtype: DataType) -> Draw:
    """The same item everywhere."""

    def draw(shape: Shape, _generator: np.random.Generator) -> Array:
        return constant_array(item, dtype, shape)

    return draw


def number(
    text: str, dtype: DataType, where: str, *, is_end: bool = False
) -> int | float:
    """Read a number that the type can hold; the end of a range may be one beyond.

    Raises:
        SpecError: it is none, or too large.
    """
    try:
        if "FP" not in dtype.name and dtype.name != "BF16":
            found = int(text)
            limits = np.iinfo(dtype.numpy)
            if not limits.min <= found <= int(limits.max) + is_end:
                raise SpecError(
                    f"{where}: {text} does not fit {dtype.name}",
                    hint=f"{limits.min} to {limits.max}",
                )
            return found
        real = float(text)
    except ValueError as error:
        raise SpecError(f"{where}: {text!r} is no {dtype.name}") from error
    if math.isfinite(real) and real and not _holds(real, dtype):
        raise SpecError(f"{where}: {text} does not fit {dtype.name}")
    return real


def _holds(real: float, dtype: DataType) -> bool:
    kind = np.float32 if dtype.name == "BF16" else np.dtype(dtype.numpy).type
    return abs(real) <= float(np.finfo(kind).max)


def as_floats(reals: Array, dtype: DataType) -> Array:
    """Round float64 to the type; BF16 as the upper halves of float32 words."""
    if dtype.name != "BF16":
        return reals.astype(dtype.numpy)
    words = np.atleast_1d(reals.astype(np.float32)).view(np.uint32).astype(np.uint64)
    rounded = words + _BF16_HALF + ((words >> 16) & 1)  # ties to even
    is_nan = np.isnan(reals)
    upper = np.where(is_nan, words >> 16, rounded >> 16)
    return upper.astype(np.uint16).reshape(reals.shape)
