"""The live view of a measurement on a terminal."""

from __future__ import annotations

import numpy as np
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from triton_kit.cli.perf.progress import figures, server_load, title
from triton_kit.loadtest.record.histogram import Histogram
from triton_kit.loadtest.results.units import duration
from triton_kit.loadtest.run.progress import Progress

_BARS = " ▁▂▃▄▅▆▇█"
_CELLS = 32  # of the histogram


def live_view(progress: Progress) -> RenderableType:
    """Return the load that is sent now: a bar, figures, a histogram."""
    status = progress.status
    bar = Table.grid(padding=(0, 1))
    left = status.left_s
    bar.add_row(
        Text(title(progress), style="bold"),
        ProgressBar(total=1.0, completed=status.done, width=24),
        Text(f"at most {left:.0f} s left" if left is not None else ""),
    )
    latency = status.latency()
    others = filter(None, (server_load(status), status.workers))
    shown = f" {figures(status, latency)}"
    lines = [Text(shown, no_wrap=True, overflow="ellipsis")]
    if latency.count:
        low, high = duration(latency.min_ns), duration(latency.max_ns)
        lines.append(Text(f"  {low} {_spark(latency)} {high}", no_wrap=True))
    lines += [Text(f"  {text}", no_wrap=True) for text in others]
    return Group(bar, *lines)


def _spark(latency: Histogram) -> str:
    """Return the latencies as bars, on a logarithmic axis."""
    values, counts = latency.values_ns()
    edges = np.geomspace(values[0], values[-1] + 1, _CELLS + 1)
    sums, _ = np.histogram(values, edges, weights=counts)
    most = max(sums.max(), 1)
    heights = np.ceil(sums / most * (len(_BARS) - 1)).astype(int)
    return "".join(_BARS[height] for height in heights)
