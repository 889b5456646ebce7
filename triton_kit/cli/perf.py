"""`triton-kit perf`: load-test a served model, with perf_analyzer's options."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from triton_kit.cli.command import kit_command
from triton_kit.cli.perf_data_options import data_options
from triton_kit.cli.perf_load_options import load_options
from triton_kit.cli.perf_model_options import model_options
from triton_kit.cli.perf_other_options import other_options
from triton_kit.cli.perf_outputs import (
    OUTPUTS,
    check_outputs,
    files_read,
    output_options,
    write_outputs,
)
from triton_kit.cli.perf_transport_options import transport_options
from triton_kit.errors import SpecError

if TYPE_CHECKING:
    from triton_kit.loadtest.results.result import PerfResult
    from triton_kit.loadtest.run.measure import Progress

_INTERRUPTED = 130  # what a shell reports for Ctrl-C


@kit_command(name="perf", short_help="Load-test a served model.")
@model_options
@click.option("-u", "--url", default="localhost", help="HOST:PORT of the server.")
@click.option(
    "-i",
    "--protocol",
    type=click.Choice(["http", "grpc"], case_sensitive=False),
    default="http",
    show_default=True,
    help="What the port speaks: Triton's 8000 http, its 8001 grpc.",
)
@load_options
@click.option(
    "-p",
    "--measurement-interval",
    "interval_ms",
    type=int,
    metavar="MS",
    help="Length of a measurement window in milliseconds. Without it, measure until "
    "throughput and p95 are known to 5 %.",
)
@click.option(
    "-s",
    "--stability-percentage",
    "stability",
    type=float,
    metavar="PERCENT",
    help="Measure windows until three in a row lie within this.",
)
@click.option(
    "--measurement-mode",
    type=click.Choice(["time_windows", "count_windows"]),
    help="Windows of -p, or of --measurement-request-count requests.",
)
@click.option(
    "--measurement-request-count",
    "window_requests",
    type=int,
    metavar="N",
    help="A window ends with so many requests (50 with count_windows).",
)
@click.option("-r", "--max-trials", type=int, help="At most so many windows.")
@click.option("--percentile", type=float, help="The latency that must be stable.")
@click.option("--request-count", type=int, help="Measure this many requests instead.")
@click.option(
    "--warm-up",
    "warm_up_s",
    default=0.5,
    show_default=True,
    metavar="S",
    help="How long each load runs before it is measured.",
)
@click.option(
    "--request-timeout",
    "timeout_s",
    default=60.0,
    show_default=True,
    metavar="S",
    help="A request without an answer by then has failed.",
)
@data_options
@click.option("--collect-metrics", is_flag=True, help="Read Prometheus' endpoint too.")
@click.option(
    "--metrics-url",
    metavar="URL",
    help="Where that is.  [default: the server's host, port 8002, /metrics]",
)
@click.option("--metrics-interval", "metrics_ms", default=1000, metavar="MS")
@click.option(
    "--bls-composing-models",
    "composing",
    default="",
    metavar="NAME,...",
    help="Models that the model calls: show what the server counted of them, too.",
)
@click.option("--streaming", is_flag=True, help="A gRPC stream for each request.")
@click.option(
    "--request-parameter",
    "parameters",
    multiple=True,
    metavar="NAME:VALUE:TYPE",
    help="Sent with every request: priority:1:int, flag:true:bool, note:x:string.",
)
@click.option(
    "-H",
    "headers",
    multiple=True,
    metavar="NAME:VALUE",
    help="HTTP header or gRPC metadata, such as an API key.",
)
@click.option(
    "-l",
    "--latency-threshold",
    "threshold_ms",
    type=float,
    metavar="MS",
    help="Stop at the first load whose p95 (or --percentile) is above this.",
)
@click.option("--slo", metavar="BOUNDS", help="For example 'p99<20ms,errors<0.1%'.")
@click.option("--binary-search", is_flag=True, help="Find the highest load that meets.")
@output_options
@transport_options
@other_options
@click.version_option(package_name="triton_kit")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    **options: Any,  # noqa: ANN401  click gives each option its own type
) -> None:
    """Put load on a model and measure what comes back.

    Latencies count from the time a request was due, on CLOCK_MONOTONIC; failed
    requests are counted and shown. The options are perf_analyzer's. Exit code 1: an
    objective is missed, or no request of a load was answered well.
    """
    from triton_kit.cli.perf_options import perf_spec
    from triton_kit.loadtest.run.measure import measure

    _check_metrics(ctx)
    outputs = {name: options.pop(name) for name in OUTPUTS}
    read = files_read(ctx)
    verbose_csv = options.pop("verbose_csv")
    spec = perf_spec(**options, keep_times=outputs["profile_path"] is not None)
    check_outputs(outputs, read)
    with _progress() as show:
        result = measure(spec, show)
    try:
        # Before the table: whoever reads that may be gone.
        write_outputs(result, outputs, verbose_csv=verbose_csv)
    finally:
        _print(result)
    is_good = result.meets_slo and not result.is_failing
    ctx.exit(_INTERRUPTED if result.was_interrupted else int(not is_good))


def _check_metrics(ctx: click.Context) -> None:
    """Refuse what is said about metrics that nobody collects."""
    if ctx.params["collect_metrics"]:
        return
    for name, option in (
        ("metrics_url", "--metrics-url"),
        ("metrics_ms", "--metrics-interval"),
    ):
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise SpecError(
                f"{option} {ctx.params[name]}, but no metrics are collected",
                hint="--collect-metrics",
            )


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None] | None]:
    """Yield what shows progress: a bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    looks = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Bar(*looks, console=console, transient=True) as bar:
        task = bar.add_task("warming up", total=1.0)

        def show(progress: Progress) -> None:
            number = f"{progress.index + 1}"
            if progress.loads is not None:
                number += f" of {progress.loads}"
            text = f"{progress.load} ({number})"
            bar.update(task, description=text, completed=progress.done)

        yield show


def _print(result: PerfResult) -> None:
    """Print a rich table on a terminal, columns of plain text elsewhere."""
    from rich.console import Console
    from rich.table import Table

    from triton_kit.loadtest.results import table

    console = Console()
    if not console.is_terminal:
        click.echo(table.plain(result))
        return
    shown = Table(title=f"{result.model['name']} on {result.spec['url']}")
    for index, head in enumerate(table.columns()):
        shown.add_column(head, justify="right" if index else "left")
    for row in table.rows(result):
        shown.add_row(*row)
    console.print(shown)
    for line in table.remarks(result):
        console.print(line, style="yellow", markup=False)
