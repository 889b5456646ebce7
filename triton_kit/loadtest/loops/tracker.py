"""The sink of every loop: which requests are in flight, and how others ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from triton_kit.loadtest.net.transport import Transport
from triton_kit.loadtest.record.recorder import Recorder, Snapshot
from triton_kit.loadtest.request import Failure, OnEnd

# Called when a slot is free again: the slot, and when its request ended.
Freed = Callable[[int, int], None]


class RequestTracker:
    """Records how each request ended, then hands its slot back to the loop.

    Loops write to `due_ns` directly: a call per request would cost more than all else.

    Attributes:
        recorder: everything that ended.
        parts: the same per model, server or stage, where `observed.PartRecorders`
            fills them.
        start_ns: when an open loop began.
        stage_at: returns the stage of a request that is due at a time, where the parts
            are stages.
        due_ns: of each slot's request; 0 where the slot is free.
        uncounted: slots whose request is recorded nowhere; its end frees no slot.
        finished: takes the end of a request, once a loop has asked to be handed back.
    """

    def __init__(self, *, keep_times: bool = False) -> None:
        self.recorder = Recorder(keep_times=keep_times)
        self.parts: dict[str, list[Recorder]] = {}
        self.start_ns = 0
        self.stage_at: Callable[[int], int] = lambda _due_ns: 0
        self.due_ns: list[int] = []
        self.uncounted: set[int] = set()
        self.finished: OnEnd

    def hand_back_to(self, freed: Freed) -> None:
        """Set the function that learns of every slot that is free again."""
        self.finished = _finished(self.recorder, self.due_ns, freed)

    def leave_out(self, ended: Callable[[], None]) -> None:
        """Allow requests that count nowhere; `ended` is called at the end of each."""
        finished = self.finished

        def either(slot: int, *end: Any) -> None:  # noqa: ANN401  as `finished` has it
            if slot not in self.uncounted:
                finished(slot, *end)
                return
            self.uncounted.discard(slot)
            self.due_ns[slot] = 0
            ended()

        self.finished = either

    def responded(self, slot: int, before_ns: int, at_ns: int, /) -> None:
        """Record one response of many: when it came, and when the one before did."""
        if slot in self.uncounted:
            return
        self.recorder.response(at_ns - before_ns if before_ns else None)

    def retried(self, slot: int, /) -> None:
        """Count a request that was refused unprocessed and goes out again."""
        if slot not in self.uncounted:
            self.recorder.retry()

    def fail_unsent(self, due_ns: int, failure: Failure) -> None:
        """Record that a request which was due could not even be sent."""
        self.recorder.fail(failure)
        if stages := self.parts.get("stage"):
            stages[self.stage_at(due_ns)].fail(failure)

    def expire(self, transport: Transport, before_ns: int, failure: Failure) -> None:
        """Fail requests that were due before `before_ns` and have no response."""
        for slot, due_ns in enumerate(self.due_ns):
            if 0 < due_ns < before_ns:
                transport.cancel(slot, failure)

    def take_snapshot(self) -> Snapshot:
        """Return what was recorded since the last snapshot, and start anew."""
        parts = {
            kind: [recorder.take() for recorder in recorders]
            for kind, recorders in self.parts.items()
        }
        return Snapshot(self.recorder.take(), parts)


def _finished(recorder: Recorder, due_ns: list[int], freed: Freed) -> OnEnd:
    """Return the function that records the end of a request: a closure, for speed.

    Its names are cells, which are found faster than attributes.
    """
    times, count, batch = recorder.times, recorder.count, Recorder.BATCH

    def finished(
        slot: int,
        sent_ns: int,
        first_ns: int,
        last_ns: int,
        failure: Failure | None,
        _response: bytes,
        /,
    ) -> None:
        if failure is None:
            times.extend((due_ns[slot], sent_ns, first_ns, last_ns))
            if len(times) >= batch:
                count()
        else:
            recorder.fail(failure)
        freed(slot, last_ns)

    return finished
