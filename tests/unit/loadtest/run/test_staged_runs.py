"""Runs whose rate changes: the figures and findings of each stage."""

import pytest
from memory_transport import MemoryTransport

from triton_kit.errors import TransportError
from triton_kit.loadtest.loops.load import StagedLoad
from triton_kit.loadtest.loops.stages import parse_stages
from triton_kit.loadtest.net.clock import now_ns, ns
from triton_kit.loadtest.net.reactor import NEVER, Reactor
from triton_kit.loadtest.record.cpu import CpuWatch
from triton_kit.loadtest.record.stats import StatsWatch
from triton_kit.loadtest.request import Request
from triton_kit.loadtest.run.generator import LocalLoadGenerator
from triton_kit.loadtest.run.load_run import LoadRun
from triton_kit.loadtest.run.request_source import RequestSource
from triton_kit.loadtest.spec import PerfSpec


class NoStatistics:
    """A server that has none."""

    def statistics(self, _model):
        raise TransportError("none here")


class OneAtATime(MemoryTransport):
    """Responds to one request after the other, 2.5 ms each."""

    _free_ns = 0

    def send(self, slot, request, /):
        at_ns = now_ns()
        self._free_ns = max(self._free_ns, at_ns) + ns(0.0025)
        self._service_ns = self._free_ns - at_ns
        super().send(slot, request)


def run(stages, **changes):
    load = StagedLoad(stages=parse_stages(stages))
    spec = PerfSpec(url="127.0.0.1:1", model="m", loads=(load,), warm_up_s=0, **changes)
    limit_s = spec.time_limit_s
    with Reactor() as reactor:
        transport = OneAtATime(reactor)
        source = RequestSource(requests=[Request(b"x")])
        loop = LocalLoadGenerator(spec, reactor, transport, source).open_loop(load)
        return LoadRun(
            spec,
            load,
            reactor,
            loop,
            CpuWatch([spec.address]),
            StatsWatch(NoStatistics(), ["m"]),
            lambda _status: None,
            now_ns() + ns(limit_s) if limit_s else NEVER,
        ).run()


def test_a_stage_that_is_cut_short_has_the_time_until_then():
    cut = run("100/s:300ms,200/s:10s,100/s:1s", time_limit_s=0.7)

    first, second = cut.levels
    assert (first.window_s, second.window_s) == (0.3, pytest.approx(0.4, abs=0.05))
    assert second.succeeded / second.window_s == pytest.approx(200, rel=0.1)
    assert cut.ended_early == "the time limit of 0.7 s was reached"


def test_a_time_limit_that_comes_between_two_requests_is_reported():
    assert run("2/s:10s", time_limit_s=0.25).ended_early is not None


def test_a_run_lasts_to_the_end_of_a_stage_without_requests():
    whole = run("100/s:100ms,0/s:300ms")

    assert [stage.window_s for stage in whole.levels] == [0.1, 0.3]
    assert whole.window_s == pytest.approx(0.4, abs=0.05)


def test_a_short_spike_in_a_long_run_is_judged():
    """Over a thousand times the backlog is noted, at most 16 times in the spike."""
    # With so short a timeout it is noted every 5 ms.
    found = run("50/s:5500ms,1500/s:80ms", request_timeout_s=0.05).verdict

    reasons = [f.reason for f in found.findings if f.kind == "server-limited"]
    assert any(reason.startswith("stage 2 (1500/s:0.08s)") for reason in reasons)
    assert not any(reason.startswith("stage 1") for reason in reasons)
