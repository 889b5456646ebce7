"""What observers of a load count, request by request."""

import itertools

from memory_transport import MemoryTransport

from triton_kit.loadtest.loops.observed import ObservedTransport, PartRecorders
from triton_kit.loadtest.loops.open_loop import OpenLoop
from triton_kit.loadtest.loops.sequences import SlotRequests
from triton_kit.loadtest.loops.tracker import RequestTracker
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.request import Request


def test_the_ends_of_sequences_count_in_no_part():
    tracker = RequestTracker()
    parts = PartRecorders(tracker, "server", 2, lambda slot, _request: slot % 2)
    good, ending = Request(b"x"), Request(b"end")
    with Reactor() as reactor:
        loop = OpenLoop(
            reactor,
            ObservedTransport(MemoryTransport(reactor), [parts]),
            [],
            lambda: iter([0] * 10),
            most_in_flight=4,
            sequence_source=lambda _slot: SlotRequests(itertools.repeat(good), ending),
            tracker=tracker,
        )
        loop.begin()
        reactor.run()
        loop.end_sequences()
        reactor.run()
        snapshot = loop.take_snapshot()

    assert snapshot.whole.succeeded == 10
    assert sum(part.succeeded for part in snapshot.parts["server"]) == 10
