"""Timers ring in their order, whatever time they were set for."""

import os
from contextlib import contextmanager

import pytest

from triton_kit.loadtest.net.clock import now_ns
from triton_kit.loadtest.net.reactor import NEVER, READ, WRITE, Reactor


@pytest.mark.parametrize("due_ns", [0, 1, -5])
def test_a_time_that_is_past_is_at_once(due_ns):
    rung = []
    with Reactor() as reactor:
        reactor.call_at(due_ns, lambda: rung.append(due_ns))
        reactor.call_at(now_ns() + 1_000_000, reactor.stop)
        reactor.run()

    assert rung == [due_ns]


def test_timers_ring_by_time_not_by_the_order_they_were_set_in():
    rung = []
    with Reactor() as reactor:
        start_ns = now_ns()
        reactor.call_at(start_ns + 4_000_000, reactor.stop)
        for wait_ns in (3_000_000, 1_000_000, 2_000_000):
            reactor.call_at(start_ns + wait_ns, lambda w=wait_ns: rung.append(w))
        reactor.run()

    assert rung == [1_000_000, 2_000_000, 3_000_000]


def test_a_cancelled_timer_does_not_ring():
    rung = []
    with Reactor() as reactor:
        reactor.call_at(now_ns(), lambda: rung.append("cancelled")).cancel()
        reactor.call_at(now_ns() + 1_000_000, reactor.stop)
        reactor.run()

    assert rung == []


@pytest.mark.parametrize("spin_ns", [0, 200_000])
def test_the_alarm_never_rings_early_and_rings_once(spin_ns):
    rung = []
    with Reactor(spin_ns=spin_ns) as reactor:
        due_ns = now_ns() + 2_000_000
        reactor.on_alarm(rung.append)
        reactor.set_alarm(due_ns)
        reactor.call_at(due_ns + 3_000_000, reactor.stop)
        reactor.run()

    [woke_ns] = rung
    assert woke_ns >= due_ns


def test_a_disarmed_alarm_does_not_ring():
    rung = []
    with Reactor() as reactor:
        reactor.on_alarm(rung.append)
        reactor.set_alarm(now_ns() + 1_000_000)
        reactor.set_alarm(NEVER)
        reactor.call_at(now_ns() + 2_000_000, reactor.stop)
        reactor.run()

    assert rung == []


class Pipe:
    """A descriptor to read from, and how its bytes came in."""

    def __init__(self, reactor, reading, writing):
        self.reactor, self.reading, self.writing = reactor, reading, writing
        self.came = []

    def watch(self):
        self.reactor.watch(self.reading, self.on_ready, wait=self.wait)

    def write(self):
        os.write(self.writing, b"x")

    def on_ready(self, _events, _woke_ns):
        os.read(self.reading, 1)
        self.came.append("ready")

    def wait(self):
        os.set_blocking(self.reading, False)
        try:
            os.read(self.reading, 1)
        except BlockingIOError:
            return now_ns()
        self.came.append("waited for")
        return now_ns()


@contextmanager
def pipe(reactor):
    reading, writing = os.pipe()
    try:
        yield Pipe(reactor, reading, writing)
    finally:
        os.close(reading)
        os.close(writing)


def run_for(reactor, wait_ns):
    reactor.call_at(now_ns() + wait_ns, reactor.stop)
    reactor.run()


@pytest.mark.parametrize(
    ("timer_ns", "came"), [(50_000_000, "waited for"), (2_000_000, "ready")]
)
def test_one_connection_alone_is_waited_for_unless_a_timer_is_near(timer_ns, came):
    with Reactor() as reactor, pipe(reactor) as only:
        only.watch()
        only.write()
        run_for(reactor, timer_ns)

    assert only.came == [came]


def test_an_alarm_ends_every_wait_for_a_receive():
    with Reactor() as reactor, pipe(reactor) as only:
        only.watch()
        only.write()
        reactor.call_at(now_ns() + 50_000_000, reactor.stop)
        reactor.set_alarm(now_ns() + 40_000_000)
        reactor.run()

    assert only.came == ["ready"]


def test_two_connections_are_watched_until_one_is_forgotten():
    with Reactor() as reactor, pipe(reactor) as one, pipe(reactor) as other:
        for each in (one, other):
            each.watch()
            each.write()
        run_for(reactor, 50_000_000)
        reactor.forget(other.reading)
        one.write()
        run_for(reactor, 50_000_000)

    assert (one.came, other.came) == (["ready", "waited for"], ["ready"])


def test_a_connection_that_has_to_write_is_watched():
    with Reactor() as reactor, pipe(reactor) as only:
        only.watch()
        reactor.rewatch(only.reading, events=READ | WRITE, wait=only.wait)
        only.write()
        run_for(reactor, 50_000_000)
        reactor.rewatch(only.reading, events=READ, wait=only.wait)
        only.write()
        run_for(reactor, 50_000_000)

    assert only.came == ["ready", "waited for"]
