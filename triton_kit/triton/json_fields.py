"""JSON of a server: the one place that parses it and checks the types in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from triton_kit.errors import TransportError

_HINT = "is this a Triton server, or another one of the KServe v2 protocol?"
_SHOWN = 80
_Type = TypeVar("_Type")


def parse_json(text: bytes, where: str) -> Any:  # noqa: ANN401  any JSON value
    """Parse JSON that a server sent; nothing at all is an empty object.

    Raises:
        TransportError: the text is not JSON, or is more than this process can hold.
    """
    try:
        return json.loads(text or b"{}")
    except (ValueError, RecursionError, MemoryError) as error:
        shown = text[:_SHOWN].decode(errors="replace")
        raise TransportError(
            f"{where}: the response is not JSON: {shown!r}", hint=_HINT
        ) from error


class Fields:
    """The fields of a JSON object, each checked when it is read.

    A field that is absent or null has the default of its type, as in protobuf's JSON.
    Every method raises TransportError where a field has another type.
    """

    __slots__ = ("_fields", "where")

    def __init__(self, value: object, where: str) -> None:
        self.where = where
        self._fields = self._checked(value, dict, "an object", "the response")

    def __contains__(self, name: str) -> bool:
        return self._fields.get(name) is not None

    @property
    def as_json(self) -> dict[str, Any]:
        """The object as it was parsed."""
        return self._fields

    def text(self, name: str, default: str | None = "") -> str:
        """Return a string; a field whose default is None must be there."""
        value = self._fields.get(name)
        if value is None and default is not None:
            return default
        return self._text(value, name)

    def texts(self, name: str) -> list[str]:
        """Return a list of strings."""
        return [self._text(item, name) for item in self._list(name)]

    def integer(self, name: str) -> int:
        """Return a whole number, which protobuf's JSON may write as a string."""
        return self._integer(self._fields.get(name) or 0, name)

    def integers(self, name: str) -> list[int]:
        """Return a list of whole numbers."""
        return [self._integer(item, name) for item in self._list(name)]

    def flag(self, name: str) -> bool:
        """Return true or false."""
        return self._checked(self._fields.get(name) or False, bool, "a boolean", name)

    def inner(self, name: str) -> Fields:
        """Return an object; an absent one is empty."""
        return Fields(self._fields.get(name) or {}, f"{self.where}: {name}")

    def objects(self, name: str) -> list[Fields]:
        """Return a list of objects."""
        return [Fields(item, f"{self.where}: {name}") for item in self._list(name)]

    def _list(self, name: str) -> list[Any]:
        return self._checked(self._fields.get(name) or [], list, "a list", name)

    def _text(self, value: object, name: str) -> str:
        text = self._checked(value, str, "a string", name)
        if not text.isascii():  # half of a surrogate pair cannot be printed
            text = text.encode(errors="replace").decode()
        return text

    def _integer(self, value: object, name: str) -> int:
        if isinstance(value, str) and value.removeprefix("-").isdecimal():
            value = int(value[:40])
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(value, "a whole number", name)
        if abs(value) >= 2**64:
            raise self._wrong(value, "a number of 64 bits", name)
        return value

    def _checked(
        self, value: object, kind: type[_Type], expected: str, name: str
    ) -> _Type:
        if not isinstance(value, kind):
            raise self._wrong(value, expected, name)
        return value

    def _wrong(self, value: object, expected: str, name: str) -> TransportError:
        shown = f"{value!r:.{_SHOWN}}"
        return TransportError(
            f"{self.where}: {name} is {shown}, expected {expected}", hint=_HINT
        )


def list_of_fields(value: object, where: str) -> list[Fields]:
    """Check a list of objects at the top of a response; raises TransportError."""
    listed: Mapping[str, object] = {"the response": value}
    return Fields(listed, where).objects("the response")
