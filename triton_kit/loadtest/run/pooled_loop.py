"""One load that several workers send together, as one loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from triton_kit.loadtest.net.clock import now_ns
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.record.backlog import BacklogSample
from triton_kit.loadtest.record.process_cpu import CpuTime
from triton_kit.loadtest.record.recorder import Recording, Snapshot
from triton_kit.loadtest.request import Failure
from triton_kit.loadtest.run import messages
from triton_kit.loadtest.run.lost_requests import LostRequests
from triton_kit.loadtest.run.worker_process import Worker, collect

# How long a worker may take to respond once it runs; a snapshot takes milliseconds.
_RESPONSE_WITHIN_S = 30.0
# From the command to begin until the beginning: all workers have read it by then.
_LEAD_NS = 50_000_000


class PooledLoop:
    """One load that all workers send together.

    `times` are the due times of an open loop, from the start. A worker that is lost
    takes the rest of its share with it, which counts as not sent, and what it had not
    reported. Workers are asked to expire requests, and so for their counts, at most
    every `expire_every_ns`.
    """

    def __init__(
        self,
        reactor: Reactor,
        workers: Sequence[Worker],
        *,
        is_open: bool,
        times: Callable[[], Iterator[int]] | None = None,
        concurrency: int | None = None,
        lead_ns: int = _LEAD_NS,
        expire_every_ns: int = 0,
    ) -> None:
        self._reactor = reactor
        self._workers = workers
        self._busy: set[int] = set()
        self._round = 0
        self._is_ending = False
        self._counts: dict[int, messages.Counts] = {}
        self._reported: dict[int, Snapshot] = {}  # since the last snapshot
        self._lead_ns = lead_ns
        self._expire_every_ns, self._expired_ns = expire_every_ns, -expire_every_ns
        self._lost = LostRequests(times, concurrency)
        self.sent: int | None = 0 if is_open else None
        self.counted_ns = 0

    def begin(self, *, count: int | None = None, at_ns: int | None = None) -> int:
        """Let all workers begin at one time, each with its share of `count`."""
        start_ns = now_ns() + self._lead_ns if at_ns is None else at_ns
        self._counts.clear()
        self.counted_ns = start_ns
        self._is_ending = False
        self._lost.begin(start_ns, count)
        self._start_round()
        for worker in self._workers:
            share = None if count is None else worker.share.exactly(count)
            worker.send(messages.Begin(self._round, start_ns, share))
            worker.idle_until(start_ns)
        return start_ns

    def _start_round(self) -> None:
        self._busy = {worker.share.index for worker in self._alive}
        self._round += 1

    @property
    def _alive(self) -> list[Worker]:
        """The workers that are left; the last one that is lost ends the run."""
        alive = [worker for worker in self._workers if worker.lost is None]
        if not alive:
            raise next(worker.lost for worker in self._workers if worker.lost)
        return alive

    @property
    def is_done(self) -> bool:
        """Whether every worker is done."""
        return not self._busy

    @property
    def ended(self) -> int:
        """Requests that had ended when the workers last reported their counts."""
        return sum(counts.ended for counts in self._counts.values())

    @property
    def in_flight(self) -> int:
        """Requests in flight when the workers last reported their counts."""
        return sum(counts.in_flight for counts in self._counts.values())

    @property
    def responses(self) -> int:
        """Responses that had arrived when the workers last reported their counts."""
        return sum(counts.responses for counts in self._counts.values())

    @property
    def backlog(self) -> BacklogSample | None:
        """The backlog when the workers last reported their counts.

        None for a closed loop, and once a worker has sent its last request.
        """
        known = [c.backlog for c in self._counts.values() if c.backlog is not None]
        if len(known) < len(self._alive):
            return None
        return BacklogSample(*map(sum, zip(*known, strict=True)))

    def finish(self, end_ns: int) -> None:
        """Send nothing that is due at or after `end_ns`; stop at the last response."""
        self._lost.finish(end_ns)
        self._send(messages.Finish(end_ns))
        if self.is_done:
            self._reactor.stop()

    def end_sequences(self) -> None:
        """End the sequence of each slot that sends nothing more; counts nowhere."""
        # Asked a second time in a round, workers that are done do not report it again.
        if self.is_done or not self._is_ending:
            self._is_ending = True
            self._start_round()
        self._send(messages.EndSequences(self._round))

    def abandon(self, failure: Failure) -> None:
        """Give up what is in flight and what was due, and send nothing more."""
        self._send(messages.Abandon(failure))

    def expire(self, before_ns: int, failure: Failure) -> None:
        """Fail requests that were due before `before_ns` and have no response."""
        if now_ns() - self._expired_ns < self._expire_every_ns:
            return
        self._expired_ns = now_ns()
        self._send(messages.Expire(before_ns, failure))

    def peek(self) -> Recording:
        """Return what the workers have reported since the last snapshot."""
        recording = Recording()
        for reported in self._reported.values():
            recording.merge(reported.whole)
        return recording

    def take_snapshot(self) -> Snapshot:
        """Return what all workers recorded since the last snapshot."""
        at_ns = now_ns()
        self._send(messages.TakeSnapshot())
        taken = collect(self._workers, messages.Taken, within_s=_RESPONSE_WITHIN_S)
        self.handle_events()  # reports before that
        for index, event in taken.items():
            self._lost.report(index, event.snapshot.whole.total)
        snapshot = Snapshot()
        for each in (*self._reported.values(), *(e.snapshot for e in taken.values())):
            snapshot.merge(each)
        self._reported.clear()
        if self.sent is not None:
            self.sent = self._sent(taken, at_ns)
        for worker in self._workers:
            if worker.lost is not None:
                why = worker.lost.message
                self._lost.count(worker.share, why, at_ns, snapshot.whole)
        self._counts.clear()  # these requests are in the snapshot
        self.counted_ns = at_ns
        return snapshot

    def _sent(self, taken: dict[int, messages.Taken], at_ns: int) -> int:
        """Return how many requests were sent of those due before `at_ns`.

        A worker hears of the snapshot a little later, and has sent more by then.
        """
        sent = 0
        for worker in self._workers:
            index = worker.share.index
            if index not in taken:
                sent += self._lost.reported(index)
                continue
            due = self._lost.due(worker.share, at_ns)
            own = taken[index].sent or 0
            sent += own if due is None else min(own, due)
        return sent

    def handle_events(self) -> None:
        """Handle what the workers reported; stop the reactor when all are done."""
        was_busy = bool(self._busy)
        for worker in self._workers:
            index = worker.share.index
            if any(done.round == self._round for done in worker.take(messages.Done)):
                self._busy.discard(index)
            for report in worker.take(messages.Reported):
                self._reported.setdefault(index, Snapshot()).merge(report.snapshot)
                self._lost.report(index, report.snapshot.whole.total)
            for counts in worker.take(messages.Counts):
                self._counts[index], self.counted_ns = counts, now_ns()
            if worker.lost is not None:
                self._busy.discard(index)
                self._counts[index] = self._counts_of_lost(index)
        if was_busy and not self._busy:
            self._reactor.stop()

    def _counts_of_lost(self, index: int) -> messages.Counts:
        """Return the counts of what a lost worker had reported, and no others."""
        kept = self._reported.get(index, Snapshot()).whole
        return messages.Counts(
            kept.total, kept.succeeded, in_flight=0, backlog=None, cpu=CpuTime()
        )

    def _send(self, command: messages.Command) -> None:
        for worker in self._alive:
            worker.send(command)
