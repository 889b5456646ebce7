"""One load from its first request to its last answer: warm up, measure, drain."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from triton_kit.perf.clock import NS_PER_S, now_ns, ns
from triton_kit.perf.engine import ClosedLoop
from triton_kit.perf.reactor import Reactor, Timer
from triton_kit.perf.result import Run
from triton_kit.perf.spec import Load, PerfSpec
from triton_kit.perf.transport.base import Failure, Request, Transport

# How often overdue requests are looked for and progress is reported.
_TICK_NS = 100_000_000


class Trial:
    """Puts one load on the server; `run` returns its figures, as far as it got."""

    def __init__(
        self,
        spec: PerfSpec,
        load: Load,
        reactor: Reactor,
        transport: Transport,
        requests: Sequence[Request],
        report: Callable[[float], None],
    ) -> None:
        self.was_interrupted = False
        self._spec = spec
        self._load = load
        self._reactor = reactor
        self._report = report
        self._engine = ClosedLoop(
            reactor, transport, requests, concurrency=load.concurrency
        )
        self._answered = self._window_ns = self._cpu_ns = 0

    def run(self) -> Run:
        """Warm up, measure, drain; Ctrl-C ends any of them."""
        try:
            self._warm_up()
            self._measure()
            self._drain()
        except KeyboardInterrupt:
            self.was_interrupted = True
            self._engine.abandon(Failure("interrupted"))
        return Run(
            load=self._load.as_json(),
            name=str(self._load),
            window_s=self._window_ns / NS_PER_S,
            answered=self._answered,
            recording=self._engine.recorder.cut(),
            inferences_per_request=self._spec.batch_size,
            client_cpu_s=self._cpu_ns / NS_PER_S,
        )

    def _warm_up(self) -> None:
        if self._spec.warm_up_s:
            self._engine.begin()
            self._run_until(now_ns() + ns(self._spec.warm_up_s))
            self._drain()
        self._engine.recorder.cut()

    def _measure(self) -> None:
        spec, recorder = self._spec, self._engine.recorder
        start_ns, start_cpu_ns = now_ns(), time.process_time_ns()
        length_ns = ns(spec.measurement_interval_s)
        count = spec.request_count
        try:
            if count is None:
                self._engine.begin()
                with self._ticking(lambda: (now_ns() - start_ns) / length_ns):
                    self._run_until(start_ns + length_ns)
            else:
                self._engine.begin(count=count)
                with self._ticking(lambda: recorder.finished / count):
                    self._reactor.run()
        finally:
            self._window_ns = now_ns() - start_ns
            self._cpu_ns = time.process_time_ns() - start_cpu_ns
            self._answered = recorder.succeeded

    def _run_until(self, end_ns: int) -> None:
        timer = self._reactor.call_at(end_ns, self._reactor.stop)
        try:
            self._reactor.run()
        finally:
            timer.cancel()

    def _drain(self) -> None:
        """Wait for the answers still due, for a while, then give up on them."""
        self._engine.cease()
        if self._engine.in_flight:
            self._run_until(now_ns() + ns(self._spec.drain_within_s))
            self._engine.abandon(
                Failure("no answer", "still unanswered when the drain time was over")
            )

    @contextmanager
    def _ticking(self, done: Callable[[], float]) -> Iterator[None]:
        """Report progress and fail overdue requests, several times per second."""
        timer: Timer
        timeout_ns = ns(self._spec.request_timeout_s)
        overdue = Failure("timeout", f"no answer in {timeout_ns / NS_PER_S:g} s")

        def tick() -> None:
            nonlocal timer
            self._report(min(done(), 1.0))
            self._engine.expire(now_ns() - timeout_ns, overdue)
            timer = self._reactor.call_at(now_ns() + _TICK_NS, tick)

        timer = self._reactor.call_at(now_ns(), tick)
        try:
            yield
        finally:
            timer.cancel()
