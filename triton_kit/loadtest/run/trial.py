"""One load from its first request to its last answer: warm up, measure, drain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

from triton_kit.loadtest.loops.closed_loop import ClosedLoop
from triton_kit.loadtest.loops.engine import Engine
from triton_kit.loadtest.loops.load import Load, PeriodicLoad
from triton_kit.loadtest.loops.scheduling import scheduling_of
from triton_kit.loadtest.net.clock import NS_PER_S, now_ns, ns
from triton_kit.loadtest.net.reactor import Reactor, Timer
from triton_kit.loadtest.record.backlog import Backlog
from triton_kit.loadtest.record.cpu import CpuUse, CpuWatch
from triton_kit.loadtest.record.metrics import MetricsWatch
from triton_kit.loadtest.record.recorder import Cut, Recording
from triton_kit.loadtest.record.stability import Window
from triton_kit.loadtest.record.stats import ModelStats, StatsWatch
from triton_kit.loadtest.request import TIMEOUT, Failure
from triton_kit.loadtest.results.part import Part
from triton_kit.loadtest.results.result import Run
from triton_kit.loadtest.results.verdict import judge
from triton_kit.loadtest.spec import PerfSpec

# How often overdue requests are looked for and progress is reported, at least.
_TICK_NS = 100_000_000
# How often it is looked whether a window has the requests that it is to have.
_LOOK_NS = 5_000_000
# So long without any answer, requests may wait for places in the server that sequences
# hold which send nothing more.
_STILL_NS = 200_000_000


class Trial:
    """Puts one load on the server; `run` returns its figures, as far as it got."""

    def __init__(
        self,
        spec: PerfSpec,
        load: Load,
        reactor: Reactor,
        engine: Engine,
        watch: CpuWatch,
        stats: StatsWatch,
        report: Callable[[float], None],
    ) -> None:
        self.was_interrupted = False
        self._has_ended = False
        self._spec = spec
        self._rule = spec.stop
        self._load = load
        self._reactor = reactor
        self._watch = watch
        self._stats = stats
        self._metrics = metrics_watch(spec)
        self._server: tuple[ModelStats, ...] = ()
        self._report = report
        # Often enough that a request is hardly longer than its timeout.
        self._tick_ns = min(_TICK_NS, max(ns(spec.request_timeout_s / 10), _LOOK_NS))
        self._engine = engine
        self._last_ended = (-1, 0)  # how many, and since when
        self._windows: list[Window] = []
        self._backlog = Backlog()
        self._boundaries_ns: list[int] = []
        self._cpu = CpuUse(0.0, 0.0, 0.0, None)
        self._start_ns = self._end_ns = 0
        self._send_rate: float | None = None

    def run(self) -> Run:
        """Warm up, measure, drain; Ctrl-C ends any of them."""
        tail = Cut(Recording())
        try:
            with scheduling_of(self._load, real_time=self._spec.real_time):
                self._warm_up()
                counters = self._stats.sample()
                with self._metrics.watching() if self._metrics else nullcontext():
                    self._measure()
                    self._drain()
            self._server = self._stats.since(counters)
        except KeyboardInterrupt:
            self.was_interrupted = True
            self._engine.abandon(Failure("interrupted"))
        finally:
            tail = self._engine.cut()
        if not self._boundaries_ns:
            tail = Cut(Recording())  # of the warm-up
        try:
            self._end_sequences()
        except KeyboardInterrupt:
            self.was_interrupted = True
        return self._result(tail)

    def _result(self, tail: Cut) -> Run:
        used = self._used()
        length_s = sum(window.length_s for window in used)
        total = sum(window.recording.total for window in self._windows)
        total += tail.whole.total
        counted = [Cut(window.recording, window.parts) for window in used]
        recording = _merged(cut.whole for cut in counted)
        answered = recording.succeeded
        models = self._models(length_s, counted, tail)
        if len(used) == len(self._windows):
            recording.merge(tail.whole)  # sent in time, answered after it
        return Run(
            load=self._load.as_json(),
            name=str(self._load),
            window_s=length_s,
            answered=answered,
            recording=recording,
            send_rate=self._send_rate,
            total=total,
            inferences_per_request=self._inferences_per_request(models),
            models=models,
            levels=self._levels(),
            windows=tuple(self._windows),
            server=self._server,
            metrics=self._metrics.summary() if self._metrics else (),
            boundaries_ns=tuple(self._boundaries_ns),
            cpu=self._cpu,
            verdict=judge(
                unsettled=self._unsettled(),
                cpu=self._cpu,
                recording=recording,
                backlog=self._backlog,
                cancels=self._spec.protocol == "grpc",
            ),
        )

    def _used(self) -> Sequence[Window]:
        """Return the windows that make the result: all, where the load had an end."""
        has_end = isinstance(self._load, PeriodicLoad) or self._has_ended
        return self._windows if has_end else self._rule.used(self._windows)

    def _models(
        self, length_s: float, counted: Sequence[Cut], tail: Cut
    ) -> tuple[Part, ...]:
        """Return the figures of each of several models."""
        parts = []
        for index, share in enumerate(self._spec.models):
            recording = _merged(cut.parts[index] for cut in counted)
            answered = recording.succeeded
            if len(counted) == len(self._windows) and tail.parts:
                recording.merge(tail.parts[index])
            batch_size = self._spec.parts[index].batch_size
            which = {
                "model": share.model,
                "weight": share.weight,
                "batch_size": batch_size,
            }
            parts.append(
                Part(
                    which=which,
                    name=share.model,
                    window_s=length_s,
                    answered=answered,
                    recording=recording,
                    inferences_per_request=batch_size,
                )
            )
        return tuple(parts)

    def _levels(self) -> tuple[Part, ...]:
        """Return the figures of each level of a periodic load: of its window."""
        if not isinstance(self._load, PeriodicLoad):
            return ()
        return tuple(
            Part(
                which={"concurrency": level},
                name=f"concurrency {level}",
                window_s=window.length_s,
                answered=window.recording.succeeded,
                recording=window.recording,
                inferences_per_request=self._spec.parts[0].batch_size,
            )
            for level, window in zip(self._load.levels, self._windows, strict=False)
        )

    def _inferences_per_request(self, models: Sequence[Part]) -> float:
        answered = sum(part.answered for part in models)
        if not answered:
            return self._spec.parts[0].batch_size
        inferences = sum(part.answered * part.inferences_per_request for part in models)
        return inferences / answered

    def _unsettled(self) -> str | None:
        is_counted = self._spec.request_count is not None
        if is_counted or self._has_ended or isinstance(self._load, PeriodicLoad):
            return None
        return self._rule.unsettled(self._windows)

    def _warm_up(self) -> None:
        if self._spec.warm_up_s:
            self._engine.begin()
            end_ns = now_ns() + ns(self._spec.warm_up_s)
            self._run_until(end_ns)
            self._end_ns = end_ns
            self._drain()
            self._end_sequences()
        self._engine.cut()

    def _measure(self) -> None:
        before = self._watch.sample()
        count = self._spec.request_count
        try:
            self._end_ns = self._start_ns = self._engine.begin(count=count)
            self._boundaries_ns = [self._start_ns]
            with self._ticking():
                if isinstance(self._load, PeriodicLoad):
                    self._measure_levels(self._load)
                elif count is None:
                    self._measure_windows()
                else:
                    self._reactor.run()
                    self._cut_window()
            if self._engine.sent is not None:
                length_s = (self._end_ns - self._start_ns) / NS_PER_S
                self._send_rate = self._engine.sent / length_s if length_s else 0.0
        finally:
            self._cpu = self._watch.since(before)

    def _measure_windows(self) -> None:
        rule = self._rule
        while not (rule.is_over(self._windows) or self._has_ended):
            try:
                if rule.window_requests is None:
                    self._run_until(self._end_ns + ns(rule.window_s))
                else:
                    self._run_until_ended(rule.window_requests)
            finally:
                self._cut_window()
            # Times that are given once may all have come.
            self._has_ended = self._engine.is_done

    def _measure_levels(self, load: PeriodicLoad) -> None:
        """Make each level a window of its own; the load goes on in between."""
        assert isinstance(self._engine, ClosedLoop)
        for level in load.levels:
            self._engine.raise_to(level)
            try:
                self._reactor.run()
            finally:
                self._cut_window()

    def _cut_window(self) -> None:
        start_ns, self._end_ns = self._end_ns, now_ns()
        length_s = (self._end_ns - start_ns) / NS_PER_S
        self._note_backlog()
        cut = self._engine.cut()
        self._boundaries_ns.append(self._end_ns)
        self._windows.append(
            Window(length_s=length_s, recording=cut.whole, parts=cut.parts)
        )

    def _run_until(self, end_ns: int) -> None:
        """Run until a time, or until everything that was to be sent is answered."""
        timer = self._reactor.call_at(end_ns, self._reactor.stop)
        try:
            self._reactor.run()
        finally:
            timer.cancel()

    def _run_until_ended(self, requests: int) -> None:
        """Run until so many requests have ended since the last cut, or all have."""
        while self._engine.ended < requests and not self._engine.is_done:
            self._run_until(now_ns() + _LOOK_NS)

    def _drain(self) -> None:
        """Wait for the answers still due, for a while, then give up on them."""
        self._engine.finish(self._end_ns)
        self._await_answers()

    def _await_answers(self) -> None:
        end_ns = now_ns() + ns(self._drain_within_s())
        while not self._engine.is_done and now_ns() < end_ns:
            self._run_until(min(end_ns, now_ns() + self._tick_ns))
            self._expire()
            self._give_place()
        if not self._engine.is_done:
            self._engine.abandon(
                Failure("no answer", "still unanswered when the drain time was over")
            )

    def _drain_within_s(self) -> float:
        """Return how long to wait for what is unanswered when the time is over.

        What a closed loop has in flight is not more than it ever was, and may take as
        long as any request; an open loop that is behind could wait for very long.
        """
        is_open = self._engine.sent is not None
        limit_s, timeout_s = self._spec.drain_within_s, self._spec.request_timeout_s
        return limit_s if is_open else max(limit_s, timeout_s + _TICK_NS / NS_PER_S)

    def _expire(self) -> None:
        """Fail the requests that are over the timeout."""
        timeout_s = self._spec.request_timeout_s
        failure = Failure(TIMEOUT, f"no answer in {timeout_s:g} s")
        self._engine.expire(now_ns() - ns(timeout_s), failure)

    def _give_place(self) -> None:
        """End the sequences that send nothing more, where nothing moves any more."""
        count, since_ns = self._last_ended
        if self._engine.ended != count:
            self._last_ended = self._engine.ended, now_ns()
        elif self._spec.sequences is not None and now_ns() - since_ns > _STILL_NS:
            self._last_ended = count, now_ns()
            self._engine.end_sequences()

    def _end_sequences(self) -> None:
        """Wait until the server is free of the sequences that were cut short.

        It would keep them, and let others wait, until they have been idle for long.
        """
        if self._spec.sequences is None:
            return
        self._engine.end_sequences()
        self._await_answers()
        self._engine.cut()

    @contextmanager
    def _ticking(self) -> Iterator[None]:
        """Report progress and fail overdue requests, several times per second."""
        timer: Timer
        start_ns = now_ns()

        def tick() -> None:
            nonlocal timer
            self._report(self._progress(start_ns))
            self._note_backlog()
            self._expire()
            if self._spec.request_count is not None:
                self._give_place()
            timer = self._reactor.call_at(now_ns() + self._tick_ns, tick)

        timer = self._reactor.call_at(now_ns(), tick)
        try:
            yield
        finally:
            timer.cancel()

    def _note_backlog(self) -> None:
        owed = self._engine.owed
        if owed is not None:
            self._backlog.note(now_ns(), owed)

    def _progress(self, start_ns: int) -> float:
        if count := self._spec.request_count:
            return min(self._engine.ended / count, 1.0)
        if isinstance(self._load, PeriodicLoad):
            return len(self._windows) / len(self._load.levels)
        rule = self._rule
        longest_ns = ns(rule.window_s * rule.most_windows)
        return min((now_ns() - start_ns) / longest_ns, 1.0)


def metrics_watch(spec: PerfSpec) -> MetricsWatch | None:
    """Return what watches the Prometheus endpoint, if `spec` names one."""
    if spec.metrics_url is None:
        return None
    return MetricsWatch(spec.metrics_url, interval_s=spec.metrics_interval_s)


def _merged(recordings: Iterable[Recording]) -> Recording:
    whole = Recording()
    for recording in recordings:
        whole.merge(recording)
    return whole
