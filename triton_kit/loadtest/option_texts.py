"""Texts of options become names and values: shapes, headers, parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable

from triton_kit.errors import SpecError
from triton_kit.loadtest.request import Parameter
from triton_kit.tensors import Shape

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FRAMING = {
    *("content-length", "transfer-encoding", "content-encoding"),
    *("connection", "keep-alive", "proxy-connection", "upgrade", "expect"),
    *("te", "trailer", "inference-header-content-length"),
}
_FRAMING_GRPC = {"content-type", "grpc-encoding"}


def parse_shape(text: str) -> tuple[str, Shape]:
    """Read `NAME:3,224,224` (perf_analyzer) or `NAME:3x224x224` (trtexec).

    Raises:
        SpecError: it is neither.
    """
    name, colon, sizes = text.rpartition(":")
    try:
        shape = tuple(int(size) for size in sizes.replace("x", ",").split(","))
    except ValueError:
        shape = ()
    if not colon or not name or not shape:
        raise SpecError(f"shape {text!r}: not of the form NAME:3,224,224")
    return name, shape


def parse_header(text: str) -> tuple[str, str]:
    """Read `NAME:VALUE`.

    Raises:
        SpecError: it is no header, or would break out of its line.
    """
    name, colon, value = (part.strip() for part in text.partition(":"))
    # Its value may be a secret: no message has it.
    if not colon or not _HEADER_NAME.fullmatch(name):
        raise SpecError("a header is not of the form NAME:VALUE")
    if not value.isprintable() or not value.isascii():
        raise SpecError(
            f"header {name}: its value has characters that are not printable ASCII"
        )
    return name, value


def check_headers(names: Iterable[str], protocol: str) -> None:
    """Refuse headers by which the transport frames its messages: it writes its own.

    Raises:
        SpecError: one of them is such a header.
    """
    owned = _FRAMING | (_FRAMING_GRPC if protocol == "grpc" else set())
    for name in names:
        if name.lower() in owned:
            raise SpecError(
                f"header {name!r} is written by the transport itself",
                hint="leave it out; --compression gzip compresses requests",
            )


def _int64(text: str) -> int:
    """Read a number of 64 bits; raises ValueError."""
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError(text)
    return value


def parse_parameter(text: str) -> tuple[str, Parameter]:
    """Read `NAME:VALUE:TYPE` as perf_analyzer does; TYPE is bool, int or string.

    Raises:
        SpecError: it is not one.
    """
    name, _, rest = text.partition(":")
    value, _, kind = rest.rpartition(":")
    try:
        if name and kind == "int":
            return name, _int64(value)
    except ValueError as error:
        raise SpecError(f"request parameter {text!r}: {value!r} is no int64") from error
    if name and kind == "bool" and value in ("true", "false"):
        return name, value == "true"
    if name and kind == "string":
        return name, value
    raise SpecError(
        f"request parameter {text!r}: not of the form NAME:VALUE:TYPE",
        hint="TYPE is bool, int or string, for example priority:1:int",
    )
