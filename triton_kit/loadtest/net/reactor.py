"""A small epoll loop: readiness callbacks and coarse timers.

There is no asyncio here on purpose. The hot path is receive, record, send; coroutines,
tasks and write queues between those cost CPU that the server under test would
rather have, and hide when bytes really leave. A callback that gets the time of the
wake-up can write to its socket at once and stamp that.
"""

from __future__ import annotations

import heapq
import itertools
import select
from collections.abc import Callable
from types import TracebackType
from typing import Self

from triton_kit.loadtest.net.clock import AlarmClock, now_ns

READ = select.EPOLLIN
WRITE = select.EPOLLOUT

# Called with the epoll events and the time of the wake-up.
OnReady = Callable[[int, int], None]

# Waits a few milliseconds at most for something to read, handles it, and returns the
# time of the wake-up.
Await = Callable[[], int]

NEVER = 2**62

# So long before a timer, only epoll waits. An Await that takes longer makes the
# timer late by a few milliseconds, which timers may be; ten of them per second must
# not cost a load of short requests a system call for many of its requests.
_NO_TIMER_WITHIN_NS = 2_000_000

_CLOCKS = 2  # descriptors of the reactor's own

# Even an idle loop wakes this often, so that Ctrl-C is never far away.
_LONGEST_WAIT_S = 0.5


class Timer:
    """A call that is due later, unless it is cancelled."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self._callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Do not call back any more."""
        self._callback = None

    def fire(self) -> None:
        """Call back once."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Reactor:
    """Runs callbacks when file descriptors are ready or times have come.

    Beside any number of coarse timers there is one alarm, which is precise. The
    reactor is awake `spin_ns` before it and does not sleep again until it has rung,
    and so pays with CPU for not waking late.

    Where there is one connection only, and no time is near, it waits in that one's
    receive instead of asking epoll first: one system call less for each wake-up.
    """

    def __init__(self, *, spin_ns: int = 0) -> None:
        self._epoll = select.epoll()
        self._on_ready: dict[int, OnReady] = {}
        self._awaits: dict[int, Await] = {}  # of what is watched for reading alone
        self._only: Await | None = None
        self._only_until_ns = NEVER
        self._wait_s = _LONGEST_WAIT_S
        self._alarm_clock = AlarmClock()
        self._spin_ns = spin_ns
        self._alarm_ns = NEVER
        self._is_ringing = False
        self._on_alarm: Callable[[int], None] | None = None
        self._timer_clock = AlarmClock()
        self._timers: list[tuple[int, int, Timer]] = []
        self._order = itertools.count()
        self._is_running_due = False
        self._after_wake: list[Callable[[], None]] = []
        self._is_stopping = False
        self.watch(self._alarm_clock.fileno(), self._stay_awake)
        self.watch(self._timer_clock.fileno(), self._run_due)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self._epoll.close()
        self._alarm_clock.__exit__(kind, error, trace)
        self._timer_clock.__exit__(kind, error, trace)

    def watch(
        self,
        fd: int,
        on_ready: OnReady,
        *,
        events: int = READ,
        wait: Await | None = None,
    ) -> None:
        """Call `on_ready(events, woke_ns)` whenever `fd` is ready.

        Or call `wait` over and over, as long as there is nothing else to wait for.
        """
        self._on_ready[fd] = on_ready
        self._epoll.register(fd, events)
        self._may_await(fd, wait if events == READ else None)

    def rewatch(self, fd: int, *, events: int, wait: Await | None = None) -> None:
        """Change the events that `fd` is watched for."""
        self._epoll.modify(fd, events)
        self._may_await(fd, wait if events == READ else None)

    def forget(self, fd: int) -> None:
        """Stop watching `fd`; call this before closing it."""
        if self._on_ready.pop(fd, None) is not None:
            self._epoll.unregister(fd)
        self._may_await(fd, None)

    def _may_await(self, fd: int, wait: Await | None) -> None:
        self._awaits.pop(fd, None)
        if wait is not None:
            self._awaits[fd] = wait
        is_alone = len(self._on_ready) == _CLOCKS + 1 and len(self._awaits) == 1
        self._only = next(iter(self._awaits.values())) if is_alone else None

    def call_at(self, due_ns: int, callback: Callable[[], None]) -> Timer:
        """Call back at `due_ns` or a few milliseconds later."""
        timer = Timer(callback)
        # The clock takes 0 for never; the past is at once.
        heapq.heappush(self._timers, (max(due_ns, 1), next(self._order), timer))
        if not self._is_running_due:
            self._set_timer_clock()
        return timer

    def on_alarm(self, callback: Callable[[int], None]) -> None:
        """Call `callback(woke_ns)` whenever the alarm set by `set_alarm` rings."""
        self._on_alarm = callback

    def set_alarm(self, due_ns: int) -> None:
        """Ring at `due_ns`, instead of any time set before; NEVER disarms it."""
        self._alarm_ns = due_ns
        self._only_until_ns = 0  # until a timer is set or has rung
        if not self._is_ringing:
            self._arm()

    def after_wake(self, callback: Callable[[], None]) -> None:
        """Call back after those of every wake-up, to flush in one write."""
        self._after_wake.append(callback)

    def not_after_wake(self, callback: Callable[[], None]) -> None:
        """Take back `after_wake`."""
        self._after_wake.remove(callback)

    def stop(self) -> None:
        """Make `run` return after the current wake-up."""
        self._is_stopping = True

    def run(self) -> None:
        """Run callbacks until one of them calls `stop`.

        Everything in this loop is paid for once per request by a load of one request
        at a time: timers, and what else is rare, come in as ready descriptors.
        """
        self._is_stopping = False
        after_wake = self._after_wake
        for flush in after_wake:
            flush()  # what was sent before the loop began
        woke_ns = now_ns()
        while not self._is_stopping:
            if self._only is not None and woke_ns < self._only_until_ns:
                woke_ns = self._only()
            else:
                woke_ns = self._await_any()
            for flush in after_wake:
                flush()

    def _await_any(self) -> int:
        events = self._epoll.poll(self._wait_s)
        woke_ns = now_ns()
        if woke_ns >= self._alarm_ns:
            self._ring(woke_ns)
            # What is read below may be the response to what was sent just now.
            woke_ns = now_ns()
        on_ready = self._on_ready
        for fd, mask in events:
            # A callback of this very wake-up may have closed this one.
            if callback := on_ready.get(fd):
                callback(mask, woke_ns)
        return woke_ns

    def _ring(self, woke_ns: int) -> None:
        """Send what is due before reading what has come, which is stamped already."""
        self._alarm_ns = NEVER
        self._is_ringing = True
        if self._on_alarm is not None:
            self._on_alarm(woke_ns)
        for flush in self._after_wake:
            flush()
        self._is_ringing = False
        self._arm()  # only now: what was due has waited long enough

    def _arm(self) -> None:
        due_ns = self._alarm_ns
        if due_ns - self._spin_ns <= now_ns():
            self._wait_s = 0.0  # too near to sleep, so no clock need be set for it
            return
        self._wait_s = _LONGEST_WAIT_S
        self._alarm_clock.set(0 if due_ns == NEVER else due_ns - self._spin_ns)

    def _stay_awake(self, _events: int, woke_ns: int) -> None:
        """Spin until the alarm, if it is near and has not just rung."""
        if woke_ns >= self._alarm_ns - self._spin_ns:
            self._wait_s = 0.0

    def _run_due(self, _events: int, woke_ns: int) -> None:
        self._is_running_due = True
        try:
            while self._timers and self._timers[0][0] <= woke_ns:
                _, _, timer = heapq.heappop(self._timers)
                timer.fire()
        finally:
            self._is_running_due = False
            self._set_timer_clock()

    def _set_timer_clock(self) -> None:
        due_ns = self._timers[0][0] if self._timers else NEVER
        self._timer_clock.set(0 if due_ns == NEVER else due_ns)
        has_alarm = self._alarm_ns != NEVER
        self._only_until_ns = 0 if has_alarm else due_ns - _NO_TIMER_WITHIN_NS
