"""Times of a worker's clock into ours, and back.

CLOCK_MONOTONIC starts anew with each machine. All times in commands and recordings are
of the parent's clock; durations are the same on both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from triton_kit.loadtest.net.clock import now_ns
from triton_kit.loadtest.record.generations import COLUMNS
from triton_kit.loadtest.record.recorder import Recording
from triton_kit.loadtest.run import messages

# Columns that are times; 0 where there was no chunk.
_TIMES = tuple(i for i, name in enumerate(COLUMNS) if name.endswith("_ns"))

MessageType = TypeVar("MessageType", bound=messages.Job | messages.Command)
EventType = TypeVar("EventType", bound=messages.Event)


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """How far a clock is ahead of ours, and by how much that may be wrong."""

    offset_ns: int = 0
    bound_ns: int = 0

    def to_worker(self, message: MessageType) -> MessageType:
        """Return a command with its times on the worker's clock."""
        if not self.offset_ns:
            return message
        match message:
            case messages.Begin():
                return replace(message, at_ns=message.at_ns + self.offset_ns)
            case messages.Finish():
                return replace(message, end_ns=message.end_ns + self.offset_ns)
            case messages.Expire():
                return replace(message, before_ns=message.before_ns + self.offset_ns)
        return message

    def from_worker(self, event: EventType) -> EventType:
        """Return an event with its times on our clock; it changes the recordings."""
        if not self.offset_ns:
            return event
        if isinstance(event, messages.Reported | messages.Taken):
            parts = event.snapshot.parts.values()
            for recording in (
                event.snapshot.whole,
                *(r for part in parts for r in part),
            ):
                self._correct(recording)
        if isinstance(event, messages.EventWithCpu):
            read_ns = event.cpu.at_ns - self.offset_ns
            return replace(event, cpu=replace(event.cpu, at_ns=read_ns))
        return event

    def _correct(self, recording: Recording) -> None:
        for times in (*recording.times, *recording.responded_at):
            times -= self.offset_ns
        numbers = recording.generations.numbers
        for row in range(0, len(numbers), len(COLUMNS)):
            for column in _TIMES:
                if numbers[row + column]:
                    numbers[row + column] -= self.offset_ns


SAME_CLOCK = ClockOffset()


def measure_offset(ask: Callable[[], int], *, rounds: int) -> ClockOffset:
    """Return how far another clock is ahead, from the shortest of some round trips.

    The other clock was read somewhere within the round trip, so half of the round trip
    bounds the error.

    Args:
        ask: returns the other clock's time in nanoseconds.
        rounds: how often to ask.
    """
    return min(_round_trips(ask, rounds), key=lambda found: found.bound_ns)


def _round_trips(ask: Callable[[], int], rounds: int) -> Iterable[ClockOffset]:
    for _ in range(rounds):
        before_ns = now_ns()
        theirs_ns = ask()
        after_ns = now_ns()
        yield ClockOffset(
            theirs_ns - (before_ns + after_ns) // 2, (after_ns - before_ns) // 2 + 1
        )
