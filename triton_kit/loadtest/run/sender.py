"""What sends requests from this process: a reactor, a transport and their loops."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from triton_kit.loadtest.loops.closed_loop import ClosedLoop
from triton_kit.loadtest.loops.ledger import Ledger
from triton_kit.loadtest.loops.load import ClosedLoad, Load, PeriodicLoad
from triton_kit.loadtest.loops.observed import (
    Answers,
    ObservedTransport,
    Observer,
    Parts,
    ReplyTimes,
)
from triton_kit.loadtest.loops.open_loop import OpenLoop
from triton_kit.loadtest.loops.quota import Quota
from triton_kit.loadtest.loops.sequences import Source
from triton_kit.loadtest.net.open_files import demand_room_for, room_for
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.net.transport import Transport
from triton_kit.loadtest.record.recorder import Recorder
from triton_kit.loadtest.request import Request
from triton_kit.loadtest.run.supply import Supply
from triton_kit.loadtest.run.target import Targets, supply_for
from triton_kit.loadtest.spec import PerfSpec

# How long before a due time the reactor stops sleeping: about what a wake-up takes.
_AWAKE_NS = 40_000
# The same where `precise` is asked for: longer than even a late one.
_AWAKE_PRECISELY_NS = 150_000


# Which of how many processes this is.
Share = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Sender:
    """Everything that a load needs to be sent."""

    spec: PerfSpec
    reactor: Reactor
    transport: Transport
    supply: Supply
    is_stream: bool = False
    share: Share = (0, 1)

    @property
    def processes(self) -> list[int]:
        """The ids of further processes that send: none."""
        return []

    def engine(self, load: Load) -> ClosedLoop | OpenLoop:
        """Return what puts a load on the server."""
        spec = self.spec
        requests, source = self._requests(), self._source()
        index, of = self.share
        ledger = Ledger(keep_times=spec.keep_times)
        transport = self._observed(ledger)
        if isinstance(load, ClosedLoad):
            return ClosedLoop(
                self.reactor,
                transport,
                requests,
                concurrency=_part(load.concurrency, self.share),
                source=source,
                ledger=ledger,
            )
        if isinstance(load, PeriodicLoad):
            return ClosedLoop(
                self.reactor,
                transport,
                requests,
                concurrency=load.start,
                source=source,
                quota=Quota(self.reactor, load.period),
                ledger=ledger,
            )
        sequences = spec.sequences
        most = sequences.at_a_time if sequences else spec.most_in_flight
        most = _part(most, self.share)
        return OpenLoop(
            self.reactor,
            transport,
            requests,
            lambda: itertools.islice(load.times(), index, None, of),
            # Beyond what the system allows requests wait, which counts.
            most_in_flight=room_for(most) if spec.protocol == "http" else most,
            spread=(spec.transport.connections or 1) > 1,
            source=source,
            ledger=ledger,
        )

    def _requests(self) -> Sequence[Request]:
        """Return every Nth request, of so many rounds that all have the same order."""
        index, of = self.share
        return ([*self.supply.requests] * of)[index::of]

    def _source(self) -> Source | None:
        """Return the sequences of this process's slots, whose ids no other has."""
        source, (index, of) = self.supply.source, self.share
        if source is None or of == 1:
            return source
        return lambda slot: source(slot * of + index)

    def _observed(self, ledger: Ledger) -> Transport:
        """Put between a loop and its transport what looks at each request, if any."""
        observers: list[Observer] = []
        if self.supply.check is not None:
            observers.append(Answers(self.supply.check))
        if self.supply.part_of:
            ledger.parts += [Recorder() for _ in self.spec.parts]
            observers.append(Parts(ledger, self.supply.part_of))
        if self.spec.keep_times and self.is_stream:
            observers.append(ReplyTimes(ledger))
        if not observers:
            return self.transport
        return ObservedTransport(self.transport, observers)


def _part(whole: int, share: Share) -> int:
    """Return this process's part of so many in flight; at least one."""
    index, of = share
    return max(whole // of + (index < whole % of), 1)


def _demand_room(spec: PerfSpec, share: Share) -> None:
    """See to it that HTTP may have a connection for each slot, of every load.

    Before the first of them: what they measured would be lost.
    """
    if spec.protocol == "http":
        demand_room_for(max(_slots_demanded(spec, load, share) for load in spec.loads))


def _slots_demanded(spec: PerfSpec, load: Load, share: Share) -> int:
    """Return how many slots a load cannot do without."""
    if isinstance(load, ClosedLoad):
        return _part(load.concurrency, share)
    if isinstance(load, PeriodicLoad):
        return load.end
    return _part(spec.sequences.at_a_time, share) if spec.sequences else 1


@contextmanager
def sender_of(
    spec: PerfSpec, targets: Targets, *, share: Share = (0, 1)
) -> Iterator[Sender]:
    """Encode all requests, and yield what sends them.

    Raises:
        SpecError: the data, the shapes or the batch do not fit a model, or this
            process may not have as many connections as a load takes.
    """
    _demand_room(spec, share)
    weights = [share.weight for share in spec.models]
    supply = supply_for(targets, weights, seed=spec.seed)
    with (
        Reactor(spin_ns=_awake_ns(spec)) as reactor,
        targets.protocol.transport(reactor, supply.check is not None) as transport,
        _undisturbed(),
    ):
        yield Sender(
            spec,
            reactor,
            transport,
            supply,
            is_stream=targets.protocol.is_stream,
            share=share,
        )


def _awake_ns(spec: PerfSpec) -> int:
    if spec.real_time:
        return 0  # it wakes soon enough, and nobody else could run meanwhile
    return _AWAKE_PRECISELY_NS if spec.precise else _AWAKE_NS


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep the garbage collector out of the hot path, which makes no cycles."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
