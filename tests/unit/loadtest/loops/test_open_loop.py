import itertools
import os

import pytest
from memory_transport import MemoryTransport

from triton_kit.loadtest.loops.load import RateLoad
from triton_kit.loadtest.loops.open_loop import OpenLoop
from triton_kit.loadtest.loops.sequences import SlotRequests
from triton_kit.loadtest.loops.tracker import RequestTracker
from triton_kit.loadtest.net.clock import AlarmClock, now_ns, ns
from triton_kit.loadtest.net.reactor import NEVER, Reactor
from triton_kit.loadtest.request import Failure, Request

GOOD = Request(b"x")


def open_loop(reactor, *, times=None, service_s=0.0, most_in_flight=64):
    transport = MemoryTransport(reactor, service_ns=ns(service_s))
    return OpenLoop(
        reactor, transport, [GOOD], lambda: iter(times), most_in_flight=most_in_flight
    )


@pytest.mark.parametrize("spin_ns", [0, 100_000])
def test_no_request_leaves_before_its_time(spin_ns):
    times = [0, 0, 3_000_000, 5_000_000]
    with Reactor(spin_ns=spin_ns) as reactor:
        loop = open_loop(reactor, times=times)
        start_ns = loop.begin()
        reactor.run()
        recording = loop.recorder.take()

    assert recording.succeeded == 4
    assert recording.lag.min_ns >= 0
    assert now_ns() - start_ns >= 5_000_000


def test_a_schedule_is_sent_while_responses_are_outstanding():
    with Reactor() as reactor:
        loop = open_loop(reactor, times=range(0, 50_000_000, 1_000_000), service_s=0.03)
        loop.begin()
        reactor.run()

        assert loop.recorder.take().succeeded == 50
        assert loop.sent == 50


def test_requests_beyond_the_limit_wait_and_the_wait_counts():
    with Reactor() as reactor:
        loop = open_loop(reactor, times=[0] * 10, service_s=0.01, most_in_flight=2)
        loop.begin()
        reactor.run()
        recording = loop.recorder.take()

    assert recording.succeeded == 10
    assert recording.latency.max_ns >= ns(0.05)  # the fifth pair of two
    assert recording.from_send.quantile_ns(0.5) < recording.latency.max_ns


def test_finish_sends_requests_due_before_the_end_and_no_more():
    with Reactor() as reactor:
        loop = open_loop(reactor, times=[0] * 6 + [ns(3600)], service_s=0.01)
        start_ns = loop.begin()
        reactor.call_at(start_ns + 1_000_000, reactor.stop)
        reactor.run()
        loop.finish(now_ns())
        reactor.run()

        assert loop.recorder.take().succeeded == 6


def test_requests_that_were_never_sent_are_failures():
    with Reactor() as reactor:
        loop = open_loop(reactor, times=[0] * 9, service_s=3600, most_in_flight=4)
        start_ns = loop.begin()
        reactor.call_at(start_ns + 1_000_000, reactor.stop)
        reactor.run()
        loop.abandon(Failure("no response"))

        assert loop.recorder.take().errors["no response"].count == 9
        assert loop.is_done


def test_a_limited_number_of_requests_is_sent():
    with Reactor() as reactor:
        load = RateLoad(rate_hz=5000, distribution="poisson", seed=3)
        transport = MemoryTransport(reactor)
        loop = OpenLoop(reactor, transport, [GOOD], load.times, most_in_flight=8)
        loop.begin(count=100)
        reactor.run()

        assert loop.recorder.take().succeeded == 100


def test_a_second_start_begins_the_schedule_anew():
    with Reactor() as reactor:
        loop = open_loop(reactor, times=[0, 1000])
        for _ in range(2):
            loop.begin()
            reactor.run()

        assert loop.recorder.take().succeeded == 4


def test_an_alarm_that_is_past_rings_at_once_and_a_disarmed_one_never():
    rung = []
    with Reactor() as reactor:

        def ring(woke_ns):
            rung.append(woke_ns)
            reactor.call_at(now_ns() + 20_000_000, reactor.stop)

        reactor.on_alarm(ring)
        reactor.set_alarm(now_ns() - 5)
        reactor.run()
        reactor.set_alarm(now_ns() + 1_000_000)
        reactor.set_alarm(NEVER)
        reactor.call_at(now_ns() + 20_000_000, reactor.stop)
        reactor.run()

    assert len(rung) == 1


def test_the_alarm_clock_closes_its_descriptor():
    with AlarmClock() as clock:
        fd = clock.fileno()

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_requests_of_one_sequence_never_overtake_each_other():
    made = [[Request(b"%d:%d" % (slot, n)) for n in range(40)] for slot in range(3)]
    sent = []

    class Noting(MemoryTransport):
        def send(self, slot, request):
            assert slot not in busy
            busy.add(slot)
            sent.append(request)
            super().send(slot, request)

    class Freeing(RequestTracker):
        def hand_back_to(self, freed):
            def noting(slot, last_ns):
                busy.discard(slot)
                freed(slot, last_ns)

            super().hand_back_to(noting)

    busy = set()
    with Reactor() as reactor:
        loop = OpenLoop(
            reactor,
            Noting(reactor, service_ns=ns(0.002)),
            [],
            lambda: iter([0] * 30),
            most_in_flight=3,
            sequence_source=lambda slot: SlotRequests(iter(made[slot])),
            tracker=Freeing(),
        )
        loop.begin()
        reactor.run()
        recording = loop.recorder.take()

    assert recording.succeeded == 30
    assert recording.latency.max_ns >= ns(0.02)  # the last waited for nine before it
    for requests in made:
        assert [r for r in sent if r in requests] == requests[:10]


def test_a_sequence_is_ended_once_nothing_more_is_to_come_and_not_before():
    """The server may have stood still for a moment, in which the end was asked for."""
    sent = []

    class Noting(MemoryTransport):
        def send(self, slot, request):
            sent.append(request)
            super().send(slot, request)

    ending = Request(b"end")
    with Reactor() as reactor:
        loop = OpenLoop(
            reactor,
            Noting(reactor, service_ns=ns(0.01)),
            [],
            lambda: iter([0, 0]),
            most_in_flight=1,
            sequence_source=lambda _slot: SlotRequests(itertools.repeat(GOOD), ending),
        )
        start_ns = loop.begin()
        reactor.call_at(start_ns + ns(0.005), loop.end_sequences)
        reactor.call_at(start_ns + ns(10), reactor.stop)
        reactor.run()
        assert loop.is_done
        assert sent == [GOOD, GOOD]

        loop.end_sequences()
        reactor.run()  # until the end, which counts nowhere, is answered

        assert loop.is_done
        assert loop.recorder.take().succeeded == 2
    assert sent == [GOOD, GOOD, ending]


@pytest.mark.parametrize(
    "how",
    [
        {"sequence_source": lambda _slot: SlotRequests(itertools.repeat(GOOD))},
        {"spread": True},
    ],
    ids=lambda how: next(iter(how)),
)
def test_a_due_request_takes_the_slot_that_was_free_longest(how):
    used = []

    class Noting(MemoryTransport):
        def send(self, slot, request):
            used.append(slot)
            super().send(slot, request)

    with Reactor() as reactor:
        loop = OpenLoop(
            reactor,
            Noting(reactor),
            [GOOD],
            lambda: iter(range(0, ns(0.06), ns(0.01))),
            most_in_flight=3,
            **how,
        )
        loop.begin()
        reactor.run()

    assert used == [0, 1, 2, 0, 1, 2]
