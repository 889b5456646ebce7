"""Where each field of a config stands in its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from triton_kit.repository.config.tokens import Lines

# A field path: names, list indices and map keys, as in ("input", 0, "dims", 1).
Step = str | int
Path = Sequence[Step]


@dataclass(frozen=True, slots=True)
class Place:
    """A line and a column, both from 1; 0 where nothing in the file is meant."""

    line: int = 0
    column: int = 0


NOWHERE = Place()


@dataclass(slots=True)
class Node:
    """Offsets of one message and of the fields in it."""

    offset: int
    # Name -> offset of a value, node of a message, or a list or dict of either.
    fields: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Places:
    """The places of all fields of one file; nothing is counted before it is asked."""

    root: Node
    source: str
    _lines: Lines | None = None

    @property
    def lines(self) -> Lines:
        """The file's lines."""
        if self._lines is None:
            self._lines = Lines(self.source)
        return self._lines

    def of(self, path: Path) -> Place:
        """Return the place of a field, or of the nearest message around it.

        The empty path, and a path of which nothing is in the file, are nowhere.
        """
        here: object = self.root
        offset = None
        for step in path:
            if isinstance(here, Node) and isinstance(step, str):
                here = here.fields.get(step)
            elif isinstance(here, list) and isinstance(step, int) and step < len(here):
                here = here[step]
            elif isinstance(here, dict):
                here = here.get(step)
            else:
                break
            found = _offset(here)
            if found is None:
                break
            offset = found
        return NOWHERE if offset is None else Place(*self.lines.place(offset))


def _offset(here: object) -> int | None:
    if isinstance(here, Node):
        return here.offset
    if isinstance(here, list):
        return _offset(here[0]) if here else None
    if isinstance(here, dict):
        return _offset(next(iter(here.values()), None))
    return here if isinstance(here, int) else None
