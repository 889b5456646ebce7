import pytest
from memory_transport import MemoryTransport

from triton_kit.errors import SpecError
from triton_kit.loadtest.loops.closed_loop import ClosedLoop
from triton_kit.loadtest.loops.load import PeriodicLoad, periodic_range
from triton_kit.loadtest.loops.quota import Quota
from triton_kit.loadtest.net.clock import now_ns
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.record.stability import fixed
from triton_kit.loadtest.request import Request
from triton_kit.loadtest.spec import PerfSpec


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("10:100:30", [10, 40, 70, 100]),
        ("1:4", [1, 2, 3, 4]),
        ("2:7:4", [2, 6, 7]),
        ("5", [5]),
    ],
)
def test_the_levels_end_with_the_end(text, levels):
    assert periodic_range(text, period=3).levels == levels


@pytest.mark.parametrize("text", ["0:4", "4:1", "1:4:0", "1:4:-1", "1.5:3", "a", ""])
def test_an_impossible_periodic_range_is_refused(text):
    with pytest.raises(SpecError, match="periodic concurrency range"):
        periodic_range(text, period=1)


def test_a_period_of_no_responses_is_refused():
    with pytest.raises(SpecError, match="request period 0"):
        PeriodicLoad(start=1, end=2, period=0)


@pytest.mark.parametrize("other", [{"request_count": 5}, {"stability": fixed(1)}])
def test_a_periodic_load_ends_by_itself(other):
    with pytest.raises(SpecError, match="ends with its last level"):
        PerfSpec(url="x", model="m", loads=(PeriodicLoad(start=1, end=2),), **other)


def test_a_level_ends_when_its_new_slots_have_their_responses():
    with Reactor() as reactor:
        loop = ClosedLoop(
            reactor,
            MemoryTransport(reactor),
            [Request(b"x")],
            concurrency=2,
            quota=Quota(reactor, 3),
        )
        loop.begin()
        flights, counts = [], []
        for level in (2, 5, 6):
            loop.raise_to(level)
            reactor.run()
            flights.append(loop.in_flight)
            counts.append(loop.take_snapshot().whole.succeeded)
        loop.finish(now_ns())
        reactor.run()

    assert flights == [2, 5, 6]
    assert counts[0] >= 2 * 3
    assert counts[1] >= 3 * 3
    assert counts[2] >= 3
    assert loop.is_done


def test_every_response_of_a_stream_counts():
    with Reactor() as reactor:
        quota = Quota(reactor, 4)
        quota.expect([0])
        for _ in range(3):
            quota.responded(0, now_ns())
        quota.ended(0, (1, 2, 3), None, b"")
        stopped = []
        reactor.call_at(
            now_ns() + 5_000_000, lambda: stopped.append(quota.responded(0, now_ns()))
        )
        reactor.run()

    assert len(stopped) == 1
