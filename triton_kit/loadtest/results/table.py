"""A result as rows of text that fit a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from triton_kit.loadtest.record.histogram import Histogram
from triton_kit.loadtest.results.figures import Figures
from triton_kit.loadtest.results.generation import GenerationFigures
from triton_kit.loadtest.results.remarks import remarks
from triton_kit.loadtest.results.run import Run, Runs
from triton_kit.loadtest.results.units import duration, rate

_GAP = 2  # spaces between columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of the table.

    Attributes:
        head: its title.
        rank: where the table is too wide, the columns of the highest rank go first;
            those of rank 0 never go.
        of_figures: the cell of a run, or of one of its parts.
        of_run: the cell that only a run has.
    """

    head: str
    rank: int
    of_figures: Callable[[Figures], str] | None = None
    of_run: Callable[[Run], str] | None = None

    def cell(self, figures: Figures, run: Run | None) -> str:
        """Return the cell of a run, or of a part of one where `run` is None."""
        if self.of_figures is not None:
            return self.of_figures(figures)
        return self.of_run(run) if run is not None and self.of_run is not None else ""


def _latency(head: str, rank: int, share: float) -> Column:
    return Column(
        head=head,
        rank=rank,
        of_figures=lambda f: duration(f.recording.latency.quantile_ns(share)),
    )


def _lag(figures: Figures) -> str:
    lag = figures.recording.lag
    return f"{duration(lag.quantile_ns(0.5))}/{duration(lag.quantile_ns(0.99))}"


def _server_cores(run: Run) -> str:
    cores = run.cpu.server_cores
    return f"{cores:.2f}" if cores else "-"


def _gpu(run: Run) -> str:
    found = [g.utilization for g in run.gpus if g.utilization is not None]
    return f"{100 * sum(found) / len(found):.0f} %" if found else "-"


def _energy(run: Run) -> str:
    found = [
        g.energy_per_inference_j
        for g in run.gpus
        if g.energy_per_inference_j is not None
    ]
    return f"{1e3 * sum(found):.3g}" if found else "-"


_OF_EVERY_LOAD = (
    *("lag p50/p99", "requests", "errors", "client us/req", "server CPU", "GPU"),
    "verdict",
)
# The order of the columns. The rank is the documented order in which they go.
COLUMNS = (
    Column(head="load", rank=0, of_figures=lambda f: f.name),
    Column(head="infer/s", rank=0, of_figures=lambda f: rate(f.throughput)),
    Column(
        head="mean",
        rank=4,
        of_figures=lambda f: duration(f.recording.latency.mean_ns),
    ),
    _latency("p50", 0, 0.5),
    _latency("p90", 3, 0.9),
    _latency("p95", 2, 0.95),
    _latency("p99", 0, 0.99),
    _latency("p99.9", 5, 0.999),
    Column(head="lag p50/p99", rank=8, of_figures=_lag),
    Column(head="requests", rank=6, of_figures=lambda f: f"{f.recording.total:,}"),
    Column(head="errors", rank=0, of_figures=lambda f: f"{f.recording.failed:,}"),
    Column(
        head="client us/req",
        rank=9,
        of_run=lambda run: f"{run.client_cpu_us_per_request:.1f}",
    ),
    Column(head="server CPU", rank=7, of_run=_server_cores),
    Column(head="GPU", rank=1, of_run=_gpu),
    Column(head="GPU mJ/infer", rank=10, of_run=_energy),
    Column(head="verdict", rank=0, of_run=lambda run: run.verdict.kind),
)


def _of_tokens(
    head: str, rank: int, cell: Callable[[GenerationFigures], str]
) -> Column:
    def of_run(run: Run) -> str:
        return "-" if run.generation is None else cell(run.generation)

    return Column(head=head, rank=rank, of_run=of_run)


def _quantile(histogram: Histogram, share: float) -> str:
    return duration(histogram.quantile_ns(share)) if histogram.count else "-"


def _goodput(figures: GenerationFigures) -> str:
    return "-" if figures.good_per_s is None else rate(figures.good_per_s)


# The same for loads on language models.
GENERATION_COLUMNS = (
    COLUMNS[0],
    Column(head="req/s", rank=0, of_figures=lambda f: rate(f.requests_per_s)),
    _of_tokens("tokens/s", 0, lambda g: rate(g.tokens_per_s)),
    _of_tokens("TTFT p50", 5, lambda g: _quantile(g.ttft, 0.5)),
    _of_tokens("TTFT p95", 3, lambda g: _quantile(g.ttft, 0.95)),
    _of_tokens("TTFT p99", 0, lambda g: _quantile(g.ttft, 0.99)),
    _of_tokens("ITL p50", 5, lambda g: _quantile(g.itl, 0.5)),
    _of_tokens("ITL p95", 3, lambda g: _quantile(g.itl, 0.95)),
    _of_tokens("ITL p99", 0, lambda g: _quantile(g.itl, 0.99)),
    _latency("latency p50", 6, 0.5),
    _latency("latency p99", 4, 0.99),
    _of_tokens("goodput/s", 1, _goodput),
    *(column for column in COLUMNS if column.head in _OF_EVERY_LOAD),
)


def fitting_rows(result: Runs, width: int | None) -> list[list[str]]:
    """Return heads and rows, with as many columns as `width` characters hold.

    A run has a row, and below it one for each of its parts.
    """
    has_gpus = any(run.gpus for run in result.runs)
    is_generation = any(run.generation for run in result.runs)
    known = GENERATION_COLUMNS if is_generation else COLUMNS
    columns = [c for c in known if has_gpus or not c.head.startswith("GPU")]
    while True:
        rows = [[column.head for column in columns], *_rows(result, columns)]
        highest = max(column.rank for column in columns)
        if width is None or not highest or _width(rows) <= width:
            return rows
        columns = [column for column in columns if column.rank < highest]


def _rows(result: Runs, columns: Sequence[Column]) -> list[list[str]]:
    rows = []
    for run in result.runs:
        rows.append([column.cell(run.figures, run) for column in columns])
        for part in run.models + run.servers + run.levels:
            name, *cells = (column.cell(part, None) for column in columns)
            rows.append([f"  {name}", *cells])
    return rows


def _width(rows: Sequence[Sequence[str]]) -> int:
    widths = _column_widths(rows)
    return sum(widths) + _GAP * (len(widths) - 1)


def _column_widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def table_lines(result: Runs, *, width: int | None = None) -> list[str]:
    """Return the table: a line per row, or a line per cell where rows do not fit."""
    rows = fitting_rows(result, width)
    if width is not None and _width(rows) > width:
        return _as_blocks(rows)
    widths = _column_widths(rows)
    gap = " " * _GAP
    return [
        gap.join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _as_blocks(rows: Sequence[Sequence[str]]) -> list[str]:
    heads, *others = rows
    widest = max(map(len, heads))
    return [
        line
        for name, *cells in others
        for line in (
            name,
            *(
                f"  {head.ljust(widest)}  {cell}"
                for head, cell in zip(heads[1:], cells, strict=True)
                if cell
            ),
        )
    ]


def plain(result: Runs, *, width: int | None = None) -> str:
    """Return the table and what a reader must know beside it."""
    return "\n".join([*table_lines(result, width=width), *remarks(result)])
