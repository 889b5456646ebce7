"""One load from its first request to its last response: warm up, measure, drain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from triton_kit.loadtest.llm.source import token_counter
from triton_kit.loadtest.loops.closed_loop import ClosedLoop
from triton_kit.loadtest.loops.load import Load
from triton_kit.loadtest.loops.load_loop import LoadLoop
from triton_kit.loadtest.loops.scheduling import scheduling_of
from triton_kit.loadtest.loops.stages import stage_finder
from triton_kit.loadtest.net.clock import NS_PER_S, now_ns, ns
from triton_kit.loadtest.net.reactor import NEVER, Reactor, Timer
from triton_kit.loadtest.record.backlog import BacklogHistory
from triton_kit.loadtest.record.cpu import CpuWatch
from triton_kit.loadtest.record.metrics import GPU_UTILIZATION, metrics_watch
from triton_kit.loadtest.record.recorder import Recording
from triton_kit.loadtest.record.resources import ResourceHistory
from triton_kit.loadtest.record.stability import LONGEST_WARM_UP, Window, is_warm
from triton_kit.loadtest.record.stats import StatsWatch
from triton_kit.loadtest.request import CANCELLED, TIMEOUT, Failure
from triton_kit.loadtest.results.run import Run
from triton_kit.loadtest.run.progress import LoadStatus
from triton_kit.loadtest.run.summary import Measurement, summarize
from triton_kit.loadtest.spec import PerfSpec

# How often overdue requests are failed and progress is reported, at least.
_TICK_NS = 100_000_000
# How often a window of a number of requests is checked for its end.
_POLL_NS = 5_000_000
# After this long without an ended request, requests may wait for the server's places
# of sequences that send nothing more.
_STILL_NS = 200_000_000
# A server that sends nothing for this long is not expected to recover.
_STALL_S = 30.0
# However short the drain may be: an end that is given up leaves its sequence behind.
_ENDS_WITHIN_S = 5.0


class LoadRun:
    """Sends one load; `run` returns its results, however far it got."""

    def __init__(
        self,
        spec: PerfSpec,
        load: Load,
        reactor: Reactor,
        loop: LoadLoop,
        watch: CpuWatch,
        stats: StatsWatch,
        report: Callable[[LoadStatus], None],
        deadline_ns: int = NEVER,
    ) -> None:
        self.was_interrupted = False
        self._spec = spec
        self._rule = spec.stop
        self._load = load
        self._reactor = reactor
        self._watch = watch
        self._stats = stats
        self._metrics = metrics_watch(spec.metrics_url, spec.metrics_interval_s)
        self._report = report
        # Often enough that a request hardly exceeds its timeout.
        self._tick_ns = min(_TICK_NS, max(ns(spec.request_timeout_s / 10), _POLL_NS))
        self._loop = loop
        self._last_ended = (-1, 0)  # how many, and since when
        self._last_responses = (0, 0)  # the same
        self._deadline_ns = deadline_ns
        self._start_ns = self._end_ns = 0
        self._measured = Measurement(
            backlogs=[BacklogHistory() for _ in range(len(load.stages) or 1)]
        )
        self._stage_at = stage_finder(load.stages)
        self._resources: ResourceHistory | None = None
        self._warm_up_windows: list[Recording] = []

    def run(self) -> Run:
        """Warm up, measure, drain; Ctrl-C ends any of these phases."""
        try:
            with scheduling_of(self._load, real_time=self._spec.real_time):
                self._warm_up()
                if not self._measured.ended_early:
                    counters = self._stats.sample()
                    with self._metrics.watching() if self._metrics else nullcontext():
                        self._measure()
                        self._drain()
                    self._measured.server = self._stats.since(counters)
        except KeyboardInterrupt:
            self.was_interrupted = True
            self._loop.abandon(Failure(CANCELLED))
        finally:
            tail = self._loop.take_snapshot()
        measured = self._measured
        # Before the first window these requests are of the warm-up. They tell what is
        # wrong with a server that sends nothing, and nothing else.
        if measured.boundaries_ns or measured.ended_early:
            measured.tail = tail
        try:
            if not measured.ended_early:
                self._end_sequences()
        except KeyboardInterrupt:
            self.was_interrupted = True
        if self._metrics:
            self._measured.metrics = self._metrics.summary()
        if self._resources and self._start_ns:
            measured.resources = self._resources.points(self._start_ns, self._metrics)
        self._count_tokens()
        return summarize(self._spec, self._load, self._measured)

    def _count_tokens(self) -> None:
        """Count the tokens of responses without usage, now that no request waits."""
        count = token_counter(self._spec)
        if count is None:
            return
        recordings = [window.recording for window in self._measured.windows]
        for recording in (*recordings, self._measured.tail.whole):
            recording.generations.count_tokens(count)

    def _warm_up(self) -> None:
        count = self._spec.warm_up_requests
        if not (self._spec.warm_up_s or count):
            return
        start_ns = self._end_ns = now_ns()
        with self._ticking():
            self._loop.begin(count=count)
            if count is None:
                self._run_until_warm(start_ns)
            else:
                self._run_until(self._deadline_ns)
                self._end_ns = now_ns()
            self._measured.warm_up_s = (self._end_ns - start_ns) / NS_PER_S
            self._drain()
        if not self._measured.ended_early:
            self._end_sequences()
            self._loop.take_snapshot()

    def _run_until_warm(self, start_ns: int) -> None:
        """Run at least as long as asked for, and until two windows agree.

        A server that runs a shape for the first time may take a hundred times as long.
        """
        window_ns = ns(self._spec.warm_up_s / 2)
        windows = self._warm_up_windows
        while not (self._measured.ended_early or self._loop.is_done):
            self._end_ns += window_ns
            self._run_until(self._end_ns)
            elapsed_ns = self._end_ns - start_ns
            is_longest = elapsed_ns >= ns(LONGEST_WARM_UP * self._spec.warm_up_s)
            if is_longest or self._measured.ended_early:
                return
            windows.append(self._loop.take_snapshot().whole)
            last_two = [window.latency for window in windows[-2:]]
            is_open = self._load.concurrency is None
            if len(last_two) > 1 and is_warm(*last_two, may_grow=is_open):
                return

    def _measure(self) -> None:
        measured = self._measured
        resources = ResourceHistory(self._watch, self._watch.sample())
        self._resources = resources
        count = self._spec.request_count
        try:
            self._end_ns = self._start_ns = self._loop.begin(count=count)
            measured.boundaries_ns = [self._start_ns]
            resources.await_begin(self._start_ns)
            with self._ticking():
                if self._load.levels:
                    self._measure_levels()
                elif self._load.stages:
                    self._measure_stages()
                elif count is None:
                    self._measure_windows()
                else:
                    self._run_until(self._deadline_ns)
                    self._end_window()
            if self._loop.sent is not None:
                length_s = (self._end_ns - self._start_ns) / NS_PER_S
                measured.send_rate = self._loop.sent / length_s if length_s else 0.0
        finally:
            resources.end()
            measured.cpu = self._watch.since(resources.first)

    def _measure_windows(self) -> None:
        rule, measured = self._rule, self._measured
        while not (
            rule.is_over(measured.windows) or measured.has_ended or measured.ended_early
        ):
            try:
                if rule.window_requests is None:
                    self._run_until(self._end_ns + ns(rule.window_s))
                else:
                    self._run_until_ended(rule.window_requests)
            finally:
                self._end_window()
            # Of a load with given times, all requests may have been sent.
            measured.has_ended = self._loop.is_done

    def _measure_levels(self) -> None:
        """Make each level a window of its own; the load goes on in between."""
        assert isinstance(self._loop, ClosedLoop)
        for level in self._load.levels:
            self._loop.raise_to(level)
            try:
                self._run_until(self._deadline_ns)
            finally:
                self._end_window()
            if self._measured.ended_early:
                return

    def _measure_stages(self) -> None:
        """Measure until the last stage ends; later responses count as of a drain."""
        length_s = sum(stage.length_s for stage in self._load.stages)
        end_ns = min(self._deadline_ns, self._start_ns + ns(length_s))
        try:
            # The last response may come before the end, if no more requests are due.
            while now_ns() < end_ns and not self._measured.ended_early:
                self._run_until(end_ns)
        finally:
            self._end_window()
        self._measured.has_ended = True

    def _end_window(self) -> None:
        start_ns, self._end_ns = self._end_ns, now_ns()
        self._note_backlog()
        self._end_early()  # the time limit may be up, which no tick has seen yet
        snapshot = self._loop.take_snapshot()
        self._measured.boundaries_ns.append(self._end_ns)
        self._measured.windows.append(
            Window(
                length_s=(self._end_ns - start_ns) / NS_PER_S,
                recording=snapshot.whole,
                parts=snapshot.parts,
            )
        )

    def _run_until(self, end_ns: int) -> None:
        """Run until a time, or until something stops the reactor.

        That is the end of the last request, of a level, or an early end of the run.
        """
        if self._measured.ended_early:
            return
        timer = self._reactor.call_at(end_ns, self._reactor.stop)
        try:
            self._reactor.run()
        finally:
            timer.cancel()

    def _run_until_ended(self, requests: int) -> None:
        """Run until a number of requests have ended in this window, or all have."""
        while self._loop.ended < requests and not (
            self._loop.is_done or self._measured.ended_early
        ):
            self._run_until(now_ns() + _POLL_NS)

    def _drain(self) -> None:
        """Wait for outstanding responses, up to a limit."""
        self._loop.finish(self._end_ns)
        self._await_responses(self._drain_limit_s())

    def _await_responses(self, limit_s: float) -> None:
        def why_early() -> str | None:
            return self._measured.ended_early

        end_ns = now_ns() + ns(limit_s)
        while not self._loop.is_done and now_ns() < end_ns and not why_early():
            self._run_until(min(end_ns, now_ns() + self._tick_ns))
            self._expire()
            self._free_places()
            self._end_early()
        if not self._loop.is_done:
            why = why_early() or "still unanswered when the drain time was over"
            self._loop.abandon(Failure("no response", why))

    def _drain_limit_s(self) -> float:
        """Return how long to wait for outstanding responses.

        A closed loop has as many requests in flight as ever, each of which may take
        until its timeout; an open loop that is behind could take very long.
        """
        is_open = self._loop.sent is not None
        limit_s, timeout_s = self._spec.drain_within_s, self._spec.request_timeout_s
        return limit_s if is_open else max(limit_s, timeout_s + _TICK_NS / NS_PER_S)

    def _expire(self) -> None:
        """Fail the requests that exceed the timeout."""
        timeout_s = self._spec.request_timeout_s
        failure = Failure(TIMEOUT, f"no response in {timeout_s:g} s")
        self._loop.expire(now_ns() - ns(timeout_s), failure)

    def _free_places(self) -> None:
        """End sequences that send nothing more, if no request ends any more."""
        count, since_ns = self._last_ended
        if self._loop.ended != count:
            self._last_ended = self._loop.ended, now_ns()
        elif self._spec.sequences is not None and now_ns() - since_ns > _STILL_NS:
            self._last_ended = count, now_ns()
            self._loop.end_sequences()

    def _end_sequences(self) -> None:
        """End the sequences that were cut short, and wait until they have ended.

        Otherwise they would occupy the server's places until they are idle for long.
        """
        if self._spec.sequences is None:
            return
        self._loop.end_sequences()
        self._await_responses(max(self._drain_limit_s(), _ENDS_WITHIN_S))
        self._loop.take_snapshot()

    @contextmanager
    def _ticking(self) -> Iterator[None]:
        """Report progress and fail overdue requests, several times per second."""
        timer: Timer
        start_ns = now_ns()
        self._last_responses = (0, start_ns)

        def tick() -> None:
            nonlocal timer
            self._report(self._status(start_ns))
            if self._resources:
                self._note_backlog()
                self._resources.note()
            self._expire()
            self._end_early()
            if self._spec.request_count is not None:
                self._free_places()
            timer = self._reactor.call_at(now_ns() + self._tick_ns, tick)

        timer = self._reactor.call_at(now_ns(), tick)
        try:
            yield
        finally:
            timer.cancel()

    def _end_early(self) -> None:
        """End the run at the time limit, or if the server has sent nothing for long."""
        count, since_ns = self._last_responses
        if self._loop.responses != count or not self._loop.in_flight:
            since_ns = now_ns()
            self._last_responses = self._loop.responses, since_ns
        stall_s = self._stall_timeout_s
        if now_ns() >= self._deadline_ns:
            self._measured.ended_early = (
                f"the time limit of {self._spec.time_limit_s:g} s was reached"
            )
        elif now_ns() - since_ns > ns(stall_s):
            self._measured.ended_early = f"the server sent nothing for {stall_s:g} s"
        else:
            return
        self._reactor.stop()

    @property
    def _stall_timeout_s(self) -> float:
        """By default long enough that a request times out first, and is counted."""
        given = self._spec.stall_timeout_s
        timeout_s = self._spec.request_timeout_s
        return max(_STALL_S, timeout_s + 0.5) if given is None else given

    def _note_backlog(self) -> None:
        sample, at_ns = self._loop.backlog, now_ns()
        if sample is not None:
            stage = self._stage_at(at_ns - self._start_ns)
            self._measured.backlogs[stage].note(at_ns, sample)

    def _status(self, start_ns: int) -> LoadStatus:
        elapsed_ns = now_ns() - start_ns
        whole = [window.recording for window in self._measured.windows]
        before = whole if self._start_ns else self._warm_up_windows
        return LoadStatus(
            is_warm_up=not self._start_ns,
            done=self._done(elapsed_ns) if self._start_ns else 0.0,
            elapsed_s=elapsed_ns / NS_PER_S,
            counted_s=max(0, self._loop.counted_ns - start_ns) / NS_PER_S,
            in_flight=self._loop.in_flight,
            ended=sum(window.total for window in before) + self._loop.ended,
            recordings=lambda: [*before, self._loop.peek()],
            server_cores=self._server_cores,
            gpu=self._gpu,
        )

    def _server_cores(self) -> float | None:
        if self._resources is None:
            return None
        return self._watch.server_cores_since(self._resources.first)

    def _gpu(self) -> float | None:
        values = self._metrics.latest(GPU_UTILIZATION) if self._metrics else []
        return max(values, default=None)

    def _done(self, elapsed_ns: int) -> float:
        if count := self._spec.request_count:
            return min(self._loop.ended / count, 1.0)
        if levels := self._load.levels:
            return len(self._measured.windows) / len(levels)
        rule, stages_s = self._rule, sum(stage.length_s for stage in self._load.stages)
        longest_s = stages_s or rule.window_s * rule.most_windows
        return min(elapsed_ns / ns(longest_s), 1.0)
