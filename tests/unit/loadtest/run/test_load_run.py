"""One load from its first request to its last, and what Ctrl-C makes of it."""

import itertools

import pytest
from memory_transport import MemoryTransport

from triton_kit.errors import TransportError
from triton_kit.loadtest.loops.closed_loop import ClosedLoop
from triton_kit.loadtest.loops.load import RateLoad, ScheduleLoad, StagedLoad
from triton_kit.loadtest.loops.loop_setup import LoopSetup
from triton_kit.loadtest.loops.sequences import Sequences, SlotRequests
from triton_kit.loadtest.loops.stages import parse_stages
from triton_kit.loadtest.loops.tracker import RequestTracker
from triton_kit.loadtest.net.clock import now_ns, ns
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.record.cpu import CpuWatch
from triton_kit.loadtest.record.stats import StatsWatch
from triton_kit.loadtest.request import Request
from triton_kit.loadtest.run.load_run import LoadRun
from triton_kit.loadtest.spec import ClosedLoad, PerfSpec


class NoStatistics:
    """A server that tells none."""

    def statistics(self, _model):
        raise TransportError("none here")


class InterruptedWhileSequencesEnd(ClosedLoop):
    begun = 0

    def begin(self, *, count=None):
        self.begun += 1
        return super().begin(count=count)

    def end_sequences(self):
        super().end_sequences()
        if self.begun == 1:
            raise KeyboardInterrupt


def test_ctrl_c_at_the_end_of_the_warm_up_is_the_end_of_the_run():
    good = Request(b"x")
    spec = PerfSpec(
        url="127.0.0.1:1",
        model="m",
        loads=(ClosedLoad(2),),
        warm_up_s=0.02,
        measurement_interval_s=60,
        sequences=Sequences(),
    )
    with Reactor() as reactor:
        loop = InterruptedWhileSequencesEnd(
            reactor,
            MemoryTransport(reactor, service_ns=ns(0.001)),
            [],
            concurrency=2,
            sequence_source=lambda _slot: SlotRequests(
                itertools.repeat(good), ending=good
            ),
        )
        load_run = load_run_of(spec, reactor, loop)
        run = load_run.run()

    assert load_run.was_interrupted
    assert loop.begun == 1
    assert loop.is_done
    assert run.recording.total == 0


def load_run_of(spec, reactor, loop, report=lambda _status: None, **more):
    stats = StatsWatch(NoStatistics(), ["m"])
    watch = CpuWatch([spec.address])
    return LoadRun(spec, spec.loads[0], reactor, loop, watch, stats, report, **more)


def run_against_a_server(
    response_after_s,
    load=None,
    deadline_s=None,
    transport=MemoryTransport,
    report=lambda _status: None,
    **changes,
):
    """Send a load to a server whose responses take this long; return the run."""
    fixed = {"warm_up_s": 0, "measurement_interval_s": 60}
    spec = PerfSpec(
        url="127.0.0.1:1", model="m", loads=(load or ClosedLoad(2),), **fixed | changes
    )
    with Reactor() as reactor:
        setup = LoopSetup(
            reactor=reactor,
            transport=transport(reactor, service_ns=ns(response_after_s)),
            requests=[Request(b"x")],
            sequence_source=None,
            tracker=RequestTracker(),
            max_in_flight=8,
        )
        loop = spec.loads[0].loop(setup)
        more = {"deadline_ns": now_ns() + ns(deadline_s)} if deadline_s else {}
        return load_run_of(spec, reactor, loop, report, **more).run()


@pytest.mark.parametrize("load", [ClosedLoad(2), RateLoad(rate_hz=100)], ids=str)
@pytest.mark.parametrize(
    "changes", [{"request_count": 1000}, {"warm_up_s": 60}, {}], ids=str
)
def test_a_server_that_sends_nothing_ends_the_run(load, changes):
    start_ns = now_ns()

    run = run_against_a_server(
        3600, load, request_timeout_s=0.2, stall_timeout_s=0.5, **changes
    )

    assert now_ns() - start_ns < ns(20)
    assert run.ended_early == "the server sent nothing for 0.5 s"
    assert run.verdict.kind == "failing"
    assert run.verdict.reason == run.ended_early
    assert run.recording.errors["timeout"].count > 0


def test_a_run_without_requests_in_flight_waits_for_its_requests():
    load = ScheduleLoad(times_ns=(0, ns(0.8)), is_repeated=False, name="rare")

    run = run_against_a_server(0.01, load, stall_timeout_s=0.3, request_count=2)

    assert run.ended_early is None
    assert run.recording.succeeded == 2


def test_a_time_limit_ends_the_run_with_the_figures_so_far():
    run = run_against_a_server(0.001, deadline_s=2, time_limit_s=2)

    assert run.ended_early == "the time limit of 2 s was reached"
    assert run.recording.succeeded > 0
    assert 0 < run.window_s < 30
    assert run.verdict.kind == "failing"


class ColdTransport(MemoryTransport):
    """Its first responses take long, as first runs of shapes on a GPU do."""

    def send(self, slot, request, /):
        self._sent = getattr(self, "_sent", 0) + 1
        self._service_ns = ns(0.06) if self._sent < 5 else ns(0.002)
        super().send(slot, request)


def warm_up_s(transport):
    run = run_against_a_server(
        0.002,
        ClosedLoad(1),
        transport=transport,
        warm_up_s=0.4,
        measurement_interval_s=0.2,
    )
    assert run.warm_up_s <= 5 * 0.4 + 0.01
    return run.warm_up_s


def test_a_warm_up_lasts_until_the_server_is_warm():
    assert warm_up_s(ColdTransport) > 0.5
    # On a busy machine a warm server looks cold now and then.
    assert any(warm_up_s(MemoryTransport) < 0.5 for _ in range(10))


def ctrl_c(status):
    if status.elapsed_s > 0.2:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    "load", [ClosedLoad(2), StagedLoad(stages=parse_stages("50/s:10s"))], ids=str
)
def test_requests_in_flight_at_ctrl_c_have_not_failed(load):
    run = run_against_a_server(0.05, load, report=ctrl_c)

    assert run.errors == 0
    assert run.recording.cancelled > 0
    assert run.recording.succeeded > 0
    # Other processes of this machine may disturb it.
    assert {finding.kind for finding in run.verdict.findings} <= {
        *("disturbed", "server-limited", "client-limited")
    }


def test_the_progress_of_a_warm_up_has_all_of_its_requests():
    warm_up = []

    def note(status):
        if status.is_warm_up:
            warm_up.append((status.ended, status.latency().count))

    run = run_against_a_server(
        0.01, ClosedLoad(1), report=note, warm_up_s=1, measurement_interval_s=0.1
    )

    assert run.warm_up_s >= 1
    assert warm_up == sorted(warm_up)
    assert all(ended == count for ended, count in warm_up)
    assert warm_up[-1][0] > warm_up[len(warm_up) // 2][0] > 0
