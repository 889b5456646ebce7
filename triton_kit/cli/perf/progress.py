"""Progress of a measurement: a live view on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from triton_kit.cli.output import console, notice, settings

if TYPE_CHECKING:
    from rich.console import RenderableType

    from triton_kit.loadtest.results.run import Run
    from triton_kit.loadtest.run.progress import Progress

# Drawing takes a millisecond or two of the thread that sends the requests.
_DRAW_EVERY_S = 0.5
_LINE_EVERY_S = 5.0
_BARS = " ▁▂▃▄▅▆▇█"
_CELLS = 32  # of the histogram


@contextmanager
def showing_progress() -> Iterator[Callable[[Progress], None] | None]:
    """Yield what shows progress on standard error; `-q` silences it."""
    screen = console(stderr=True)
    if settings.quiet:
        yield None
    elif not screen.is_terminal:
        yield _every(_LINE_EVERY_S, lambda progress: notice(status_line(progress)))
    else:
        from rich.live import Live

        with Live(console=screen, auto_refresh=False, transient=True) as live:
            shown = 0

            def draw(progress: Progress) -> None:
                nonlocal shown
                for run in progress.runs[shown:]:
                    live.console.print(finished_line(run), markup=False)
                shown = len(progress.runs)
                live.update(live_view(progress), refresh=True)

            yield _every(_DRAW_EVERY_S, draw, at_once=True)


def _every(
    seconds: float, show: Callable[[Progress], None], *, at_once: bool = False
) -> Callable[[Progress], None]:
    """Return a function that shows progress no more often than this."""
    last_s = 0.0 if at_once else time.monotonic()

    def maybe_show(progress: Progress) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= seconds:
            show(progress)
            last_s = time.monotonic()

    return maybe_show


def live_view(progress: Progress) -> RenderableType:
    """Return the load that is sent now: a bar, figures, a histogram."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    from triton_kit.loadtest.results.units import duration

    status = progress.status
    bar = Table.grid(padding=(0, 1))
    left = status.left_s
    bar.add_row(
        Text(_title(progress), style="bold"),
        ProgressBar(total=1.0, completed=status.done, width=24),
        Text(f"at most {left:.0f} s left" if left is not None else ""),
    )
    latency, server = status.latency(), _server(progress)
    lines = [Text(_figures(progress), no_wrap=True, overflow="ellipsis")]
    if latency.count:
        low, high = duration(latency.min_ns), duration(latency.max_ns)
        lines.append(Text(f"  {low} {_spark(progress)} {high}", no_wrap=True))
    if server:
        lines.append(Text(f"  {server}", no_wrap=True))
    return Group(bar, *lines)


def status_line(progress: Progress) -> str:
    """Return one line for a log."""
    status = progress.status
    server = _server(progress)
    return (
        f"{_title(progress)}: {status.elapsed_s:.0f} s,{_figures(progress)}"
        f"{', ' if server else ''}{server}"
    )


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


def _title(progress: Progress) -> str:
    number = f"{progress.index + 1}"
    if progress.loads is not None:
        number += f" of {progress.loads}"
    phase = ", warm-up" if progress.status.is_warm_up else ""
    return f"{progress.load} ({number}{phase})"


def _figures(progress: Progress) -> str:
    """Return the rate, and errors and latency so far.

    The latter are not known while several processes are in their first window.
    """
    from triton_kit.loadtest.results.units import duration, rate

    status = progress.status
    latency, errors = status.latency(), status.errors()
    per_s = (status.ended - errors) / status.elapsed_s if status.elapsed_s else 0.0
    text = f" {rate(per_s)}/s, {status.in_flight} in flight"
    if status.ended and not (latency.count or errors):
        return text
    return (
        f"{text}, {errors} errors, p50 {duration(latency.quantile_ns(0.5))}, "
        f"p99 {duration(latency.quantile_ns(0.99))}"
    )


def _server(progress: Progress) -> str:
    """Return the load of the server's cores and GPU, as far as it is known."""
    cores, gpu = progress.status.server_cores(), progress.status.gpu()
    shown = [] if cores is None else [f"server {cores:.2f} cores"]
    return ", ".join([*shown, *([] if gpu is None else [f"GPU {gpu:.0%}"])])


def _spark(progress: Progress) -> str:
    """Return the latencies as bars, on a logarithmic axis."""
    import numpy as np

    values, counts = progress.status.latency().values_ns()
    edges = np.geomspace(values[0], values[-1] + 1, _CELLS + 1)
    sums, _ = np.histogram(values, edges, weights=counts)
    most = max(sums.max(), 1)
    heights = np.ceil(sums / most * (len(_BARS) - 1)).astype(int)
    return "".join(_BARS[height] for height in heights)
