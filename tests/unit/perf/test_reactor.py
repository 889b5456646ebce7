"""Timers ring in their order, whatever time they were set for."""

import pytest

from triton_kit.perf.clock import now_ns
from triton_kit.perf.reactor import NEVER, Reactor


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
