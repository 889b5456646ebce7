"""Sends load from this process: an event loop, a transport, encoded requests."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from triton_kit.loadtest.llm.source import usage_reader
from triton_kit.loadtest.loops.closed_loop import ClosedLoop
from triton_kit.loadtest.loops.generations import Cancellations, GenerationWatch
from triton_kit.loadtest.loops.load import Load
from triton_kit.loadtest.loops.loop_setup import LoopSetup, WorkerShare
from triton_kit.loadtest.loops.observed import (
    ObservedTransport,
    Observer,
    PartOf,
    PartRecorders,
    ResponseChecks,
    ResponseTimes,
    stage_at,
)
from triton_kit.loadtest.loops.open_loop import OpenLoop
from triton_kit.loadtest.loops.sequences import SequenceSource
from triton_kit.loadtest.loops.tracker import RequestTracker
from triton_kit.loadtest.net.clock import ns
from triton_kit.loadtest.net.open_files import raise_open_file_limit, require_open_files
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.net.transport import Transport
from triton_kit.loadtest.record.process_cpu import LoadProcess
from triton_kit.loadtest.request import Request
from triton_kit.loadtest.run.request_source import RequestSource
from triton_kit.loadtest.run.served_models import ServedModels, encode_all_requests
from triton_kit.loadtest.spec import PerfSpec

# How long before a due time the reactor stops sleeping: about what a wake-up takes.
_AWAKE_NS = 40_000
# The same for `precise`: longer than even a late wake-up.
_AWAKE_PRECISELY_NS = 150_000


@dataclass(frozen=True, slots=True)
class LocalLoadGenerator:
    """Everything that this process needs to send a load."""

    spec: PerfSpec
    reactor: Reactor
    transport: Transport
    source: RequestSource
    is_stream: bool = False
    share: WorkerShare = field(default_factory=WorkerShare)
    prompts: Iterator[Request] | None = None

    def processes(self) -> list[LoadProcess]:
        """Return the processes that send beside this one: none."""
        return []

    def open_loop(self, load: Load) -> ClosedLoop | OpenLoop:
        """Return the loop that sends `load`."""
        spec, share = self.spec, self.share
        tracker = RequestTracker(keep_times=spec.keep_times)
        most = share.of(self._most_in_flight())
        return load.loop(
            LoopSetup(
                reactor=self.reactor,
                transport=self._observed(tracker, load),
                requests=self.prompts or self.source.requests,
                sequence_source=self._sequence_source(),
                tracker=tracker,
                # Requests beyond the system's limit of connections wait, which counts.
                max_in_flight=raise_open_file_limit(most, servers=len(spec.servers))
                if spec.protocol == "http"
                else most,
                spread=(spec.transport.connections or 1) > 1,
                share=share,
            )
        )

    def _most_in_flight(self) -> int:
        """Return how many requests an open loop of all processes keeps in flight."""
        spec = self.spec
        if self.source.sessions is not None and spec.generation is not None:
            return spec.generation.sessions
        return spec.sequences.at_a_time if spec.sequences else spec.most_in_flight

    def _sequence_source(self) -> SequenceSource | None:
        """Return the sequences of this process's slots, with ids of their own."""
        source, share = self.source.sequence_source, self.share
        if self.source.sessions is not None:
            return self.source.sessions
        if source is None or share.count == 1:
            return source
        return lambda slot: source(share.slot(slot))

    def _observed(self, tracker: RequestTracker, load: Load) -> Transport:
        """Return the transport, with observers in front where the load needs them."""
        observers: list[Observer] = [*self._generation_observers(tracker)]
        if self.source.check is not None:
            observers.append(ResponseChecks(self.source.check))
        tracker.stage_at = stage_at(tracker, load.stages)
        parts: list[tuple[str, int, PartOf]] = [
            (
                "model",
                len(self.spec.models),
                lambda _slot, request: self.source.part_of[request],
            ),
            ("server", len(self.spec.servers), lambda _slot, request: request.server),
            (
                "stage",
                len(load.stages),
                lambda slot, _request: tracker.stage_at(tracker.due_ns[slot]),
            ),
        ]
        observers += [
            PartRecorders(tracker, kind, count, part_of)
            for kind, count, part_of in parts
            if count > 1
        ]
        if self.spec.keep_times and self.is_stream:
            observers.append(ResponseTimes(tracker))
        if not observers:
            return self.transport
        return ObservedTransport(self.transport, observers)

    def _generation_observers(self, tracker: RequestTracker) -> Iterator[Observer]:
        """Yield what a load on a language model needs to see."""
        spec, generation = self.spec, self.spec.generation
        if generation is None:
            return
        yield GenerationWatch(
            tracker, usage_reader(spec), keep_bodies=generation.tokenizer is not None
        )
        if self.source.sessions is not None:
            yield self.source.sessions
        if generation.cancelled_share:
            yield Cancellations(
                self.reactor,
                self.transport,
                share=generation.cancelled_share,
                after_ns=ns(generation.cancel_after_s),
                seed=spec.seed + self.share.index,
            )


def _share_of_source(source: RequestSource, share: WorkerShare) -> RequestSource:
    """Return every Nth request; enough rounds that every process has the order."""
    index, count = share.index, share.count
    requests = ([*source.requests] * count)[index::count]
    sessions = source.sessions and source.sessions.of_process(share)
    return replace(source, requests=requests, sessions=sessions)


def _require_connections(spec: PerfSpec, share: WorkerShare) -> None:
    """Check that HTTP may have a connection for each slot of every load.

    This comes before the first load: a later failure would lose its results.
    """
    if spec.protocol == "http":
        require_open_files(
            max(_required_slots(spec, load, share) for load in spec.loads),
            servers=len(spec.servers),
        )


def _required_slots(spec: PerfSpec, load: Load, share: WorkerShare) -> int:
    """Return the fewest slots that a load can run with."""
    if load.concurrency is not None:
        return share.of(load.concurrency)
    return share.of(spec.sequences.at_a_time) if spec.sequences else 1


@contextmanager
def open_generator(
    spec: PerfSpec, models: ServedModels, *, share: WorkerShare | None = None
) -> Iterator[LocalLoadGenerator]:
    """Encode all requests, and yield the generator that sends them.

    Raises:
        SpecError: the data, the shapes or the batch size do not fit a model, or this
            process may not have as many connections as a load needs.
    """
    share = share or WorkerShare()
    _require_connections(spec, share)
    weights = [model.weight for model in spec.models]
    source = encode_all_requests(models, weights, seed=spec.seed)
    source = _share_of_source(source, share)
    keep = source.check is not None or spec.generation is not None
    # The prompts of the warm-up are not sent again: they are in the server's cache.
    prompts = itertools.cycle(source.requests) if spec.generation else None
    with (
        Reactor(spin_ns=_awake_ns(spec)) as reactor,
        models.transport(reactor, keep=keep) as transport,
        _without_garbage_collection(),
    ):
        yield LocalLoadGenerator(
            spec,
            reactor,
            transport,
            source,
            is_stream=models.protocol.is_stream,
            share=share,
            prompts=prompts,
        )


def _awake_ns(spec: PerfSpec) -> int:
    if spec.real_time:
        return 0  # it wakes soon enough, and no other process could run meanwhile
    return _AWAKE_PRECISELY_NS if spec.precise else _AWAKE_NS


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Keep the garbage collector out of the hot path, which makes no cycles."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
