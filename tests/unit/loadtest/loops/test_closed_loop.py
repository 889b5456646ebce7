import itertools

import pytest
from memory_transport import MemoryTransport

from triton_kit.loadtest.loops.closed_loop import ClosedLoop
from triton_kit.loadtest.loops.sequences import SlotRequests
from triton_kit.loadtest.net.clock import now_ns, ns
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.request import Failure, Request

GOOD, BAD = Request(b"x"), Request(b"")


@pytest.fixture
def reactor():
    with Reactor() as reactor:
        yield reactor


def test_exactly_the_wanted_number_of_requests_is_sent(reactor):
    loop = ClosedLoop(reactor, MemoryTransport(reactor), [GOOD], concurrency=7)

    loop.begin(count=100)
    reactor.run()

    assert loop.recorder.take().succeeded == 100


def test_fewer_requests_than_slots_end_too(reactor):
    loop = ClosedLoop(reactor, MemoryTransport(reactor), [GOOD], concurrency=9)

    loop.begin(count=2)
    reactor.run()

    assert loop.recorder.take().succeeded == 2


def test_requests_are_taken_in_turn(reactor):
    loop = ClosedLoop(reactor, MemoryTransport(reactor), [GOOD, BAD], concurrency=1)

    loop.begin(count=10)
    reactor.run()
    recording = loop.recorder.take()

    assert (recording.succeeded, recording.failed) == (5, 5)


def test_a_second_start_begins_at_the_first_request(reactor):
    loop = ClosedLoop(reactor, MemoryTransport(reactor), [GOOD, BAD], concurrency=1)

    for _ in range(2):
        loop.begin(count=1)
        reactor.run()

    assert loop.recorder.take().succeeded == 2


def test_finish_waits_for_requests_in_flight(reactor):
    transport = MemoryTransport(reactor, service_ns=ns(0.02))
    loop = ClosedLoop(reactor, transport, [GOOD], concurrency=3)

    loop.begin()
    loop.finish(now_ns())
    reactor.run()

    assert loop.in_flight == 0
    assert loop.recorder.take().succeeded == 3


def test_abandoned_requests_are_failures(reactor):
    transport = MemoryTransport(reactor, service_ns=ns(3600))
    loop = ClosedLoop(reactor, transport, [GOOD], concurrency=3)

    loop.begin()
    loop.abandon(Failure("no response"))

    assert loop.in_flight == 0
    assert loop.recorder.take().errors["no response"].count == 3


def test_an_expired_request_frees_its_slot_for_the_next(reactor):
    transport = MemoryTransport(reactor, service_ns=ns(3600))
    loop = ClosedLoop(reactor, transport, [GOOD], concurrency=2)

    loop.begin()
    loop.expire(now_ns() + 1, Failure("timeout"))

    assert loop.in_flight == 2
    assert loop.recorder.take().failed == 2


def test_latency_covers_the_service_time(reactor):
    transport = MemoryTransport(reactor, service_ns=ns(0.005))
    loop = ClosedLoop(reactor, transport, [GOOD], concurrency=1)

    loop.begin(count=5)
    reactor.run()

    assert loop.recorder.take().latency.min_ns >= ns(0.005)


def test_a_sequence_is_ended_once_its_slot_sends_nothing_more_and_not_before(reactor):
    """The server may have stood still for a moment, in which the end was asked for."""
    sent = []

    class Noting(MemoryTransport):
        def send(self, slot, request):
            sent.append(request)
            super().send(slot, request)

    ending = Request(b"end")
    loop = ClosedLoop(
        reactor,
        Noting(reactor, service_ns=ns(0.01)),
        [],
        concurrency=1,
        sequence_source=lambda _slot: SlotRequests(itertools.repeat(GOOD), ending),
    )
    start_ns = loop.begin(count=2)
    reactor.call_at(start_ns + ns(0.005), loop.end_sequences)
    reactor.run()
    assert loop.is_done
    assert sent == [GOOD, GOOD]

    loop.end_sequences()
    reactor.run()

    assert loop.is_done
    assert sent == [GOOD, GOOD, ending]
