"""What sends requests from this process: a reactor, a transport and their loops."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from triton_kit.perf.closed_loop import ClosedLoop
from triton_kit.perf.ledger import Ledger
from triton_kit.perf.load import ClosedLoad, Load, PeriodicLoad
from triton_kit.perf.observed import Answers, ObservedTransport, Observer, Parts
from triton_kit.perf.open_loop import OpenLoop
from triton_kit.perf.quota import Quota
from triton_kit.perf.reactor import Reactor
from triton_kit.perf.recorder import Recorder
from triton_kit.perf.spec import PerfSpec
from triton_kit.perf.supply import Supply
from triton_kit.perf.target import Targets, supply_for
from triton_kit.perf.transport.base import Transport

# How long before a due time the reactor stops sleeping: about what a wake-up takes.
_AWAKE_NS = 40_000
# The same where `precise` is asked for: longer than even a late one.
_AWAKE_PRECISELY_NS = 150_000


@dataclass(frozen=True, slots=True)
class Sender:
    """Everything that a load needs to be sent."""

    spec: PerfSpec
    reactor: Reactor
    transport: Transport
    supply: Supply

    def engine(self, load: Load) -> ClosedLoop | OpenLoop:
        """Return what puts a load on the server."""
        spec, supply = self.spec, self.supply
        ledger = Ledger(keep_times=spec.keep_times)
        transport = self._observed(ledger)
        if isinstance(load, ClosedLoad):
            return ClosedLoop(
                self.reactor,
                transport,
                supply.requests,
                concurrency=load.concurrency,
                source=supply.source,
                ledger=ledger,
            )
        if isinstance(load, PeriodicLoad):
            return ClosedLoop(
                self.reactor,
                transport,
                supply.requests,
                concurrency=load.start,
                source=supply.source,
                quota=Quota(self.reactor, load.period),
                ledger=ledger,
            )
        sequences = spec.sequences
        return OpenLoop(
            self.reactor,
            transport,
            supply.requests,
            load.times,
            most_in_flight=sequences.at_a_time if sequences else spec.most_in_flight,
            source=supply.source,
            ledger=ledger,
        )

    def _observed(self, ledger: Ledger) -> Transport:
        """Put between a loop and its transport what looks at each request, if any."""
        observers: list[Observer] = []
        if self.supply.check is not None:
            observers.append(Answers(self.supply.check))
        if self.supply.part_of:
            ledger.parts += [Recorder() for _ in self.spec.parts]
            observers.append(Parts(ledger, self.supply.part_of))
        if not observers:
            return self.transport
        return ObservedTransport(self.transport, observers)


@contextmanager
def sender_of(spec: PerfSpec, targets: Targets) -> Iterator[Sender]:
    """Encode all requests, and yield what sends them.

    Raises:
        SpecError: the data, the shapes or the batch do not fit a model.
    """
    weights = [share.weight for share in spec.models]
    supply = supply_for(targets, weights, seed=spec.seed)
    spin_ns = _AWAKE_PRECISELY_NS if spec.precise else _AWAKE_NS
    with (
        Reactor(spin_ns=spin_ns) as reactor,
        targets.protocol.transport(reactor, supply.check is not None) as transport,
        _undisturbed(),
    ):
        yield Sender(spec, reactor, transport, supply)


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
