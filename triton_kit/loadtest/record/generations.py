"""Times and tokens of requests whose responses are generated token by token."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1

# The columns of a row. Times are CLOCK_MONOTONIC nanoseconds.
COLUMNS = (
    *("due_ns", "sent_ns", "first_ns", "last_ns", "end_ns"),
    *("chunks", "prompt_tokens", "completion_tokens"),
)


@dataclass(slots=True)
class Generations:
    """The successful generations of one stretch of time, 64 bytes each.

    Attributes:
        numbers: one row of COLUMNS after another. `first_ns` and `last_ns` are the
            times of the first and last chunk, 0 without any. Tokens are UNKNOWN where
            the response has no usage.
        bodies: responses whose tokens are to be counted, by the place of their row.
    """

    numbers: array[int] = field(default_factory=lambda: array("q"))
    bodies: dict[int, bytes] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers) // len(COLUMNS)

    def add(self, row: tuple[int, ...], body: bytes | None = None) -> None:
        """Record one generation; a `body` waits to be counted."""
        if body is not None:
            self.bodies[len(self)] = body
        self.numbers.extend(row)

    def merge(self, other: Generations) -> None:
        """Add another stretch of time, or another process, to this one."""
        first = len(self)
        self.bodies |= {first + place: body for place, body in other.bodies.items()}
        self.numbers.extend(other.numbers)

    def count_tokens(self, count: Callable[[bytes], int]) -> None:
        """Count the tokens of the responses that wait for it."""
        for place, body in self.bodies.items():
            self.numbers[(place + 1) * len(COLUMNS) - 1] = count(body)
        self.bodies.clear()

    def rows(self) -> NDArray[np.int64]:
        """Return int64 of shape (n, 8), a column for each of COLUMNS."""
        return np.array(self.numbers, np.int64).reshape(-1, len(COLUMNS))
