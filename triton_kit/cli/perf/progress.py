"""Progress of a measurement: a live view on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from triton_kit.cli.output import console, notice, settings

if TYPE_CHECKING:
    from triton_kit.loadtest.record.histogram import Histogram
    from triton_kit.loadtest.results.run import Run
    from triton_kit.loadtest.run.progress import LoadStatus, Progress

# Drawing takes some milliseconds of the thread that sends the requests; with this share
# of its time the view costs less than 2 % of the CPU of a load of 7,000 requests/s.
_MOST_DRAWING = 0.003
_DRAW_EVERY_S = 0.5
_LINE_EVERY_S = 5.0


@contextmanager
def showing_progress() -> Iterator[Callable[[Progress], None] | None]:
    """Yield what shows progress on standard error; `-q` silences it."""
    screen = console(stderr=True)
    if settings.quiet:
        yield None
    elif not screen.is_terminal:
        yield throttled(_LINE_EVERY_S, lambda progress: notice(status_line(progress)))
    else:
        from rich.live import Live

        from triton_kit.cli.perf.live_view import live_view

        with Live(console=screen, auto_refresh=False, transient=True) as live:
            shown = 0

            def draw(progress: Progress) -> None:
                nonlocal shown
                for run in progress.runs[shown:]:
                    live.console.print(finished_line(run), markup=False)
                shown = len(progress.runs)
                live.update(live_view(progress), refresh=True)

            yield throttled(_DRAW_EVERY_S, draw, at_once=True)


def throttled(
    seconds: float, show: Callable[[Progress], None], *, at_once: bool = False
) -> Callable[[Progress], None]:
    """Return a function that shows progress no more often than this.

    It shows it less often where that would take too much of the thread's time.
    """
    next_s = time.monotonic() + (0.0 if at_once else seconds)

    def maybe_show(progress: Progress) -> None:
        nonlocal next_s
        if time.monotonic() < next_s:
            return
        before_s = time.thread_time()
        show(progress)
        took_s = time.thread_time() - before_s
        next_s = time.monotonic() + max(seconds, took_s / _MOST_DRAWING)

    return maybe_show


def status_line(progress: Progress) -> str:
    """Return one line for a log."""
    status = progress.status
    shown = [f"{title(progress)}: {status.elapsed_s:.0f} s"]
    shown += [figures(status, status.latency()), server_load(status), status.workers]
    return ", ".join(filter(None, shown))


def finished_line(run: Run) -> str:
    """Return one line about a load that has ended."""
    from triton_kit.loadtest.results.units import duration, rate

    latency = run.recording.latency
    return (
        f"{run.name}: {rate(run.throughput)}/s, p50 "
        f"{duration(latency.quantile_ns(0.5))}, p99 "
        f"{duration(latency.quantile_ns(0.99))}, {run.errors} errors, "
        f"{run.verdict.kind}"
    )


def title(progress: Progress) -> str:
    """Return which load this is."""
    number = f"{progress.index + 1}"
    if progress.loads is not None:
        number += f" of {progress.loads}"
    phase = ", warm-up" if progress.status.is_warm_up else ""
    return f"{progress.load} ({number}{phase})"


def figures(status: LoadStatus, latency: Histogram) -> str:
    """Return the rate, and errors and latency so far.

    The latter are not known while several processes are in their first window.
    """
    from triton_kit.loadtest.results.units import duration, rate

    errors = status.errors()
    per_s = (status.ended - errors) / status.counted_s if status.counted_s else 0.0
    text = f"{rate(per_s)}/s, {status.in_flight} in flight"
    if status.ended and not (latency.count or errors):
        return text
    return (
        f"{text}, {errors} errors, p50 {duration(latency.quantile_ns(0.5))}, "
        f"p99 {duration(latency.quantile_ns(0.99))}"
    )


def server_load(status: LoadStatus) -> str:
    """Return the load of the server's cores and GPU, as far as it is known."""
    cores, gpu = status.server_cores(), status.gpu()
    shown = [] if cores is None else [f"server {cores:.2f} cores"]
    return ", ".join([*shown, *([] if gpu is None else [f"GPU {gpu:.0%}"])])
