"""`triton-kit perf`: load-test a served model, with perf_analyzer's options."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any  # Any: what click hands over, and a callable

import click
import cloup

from triton_kit.cli.command import kit_command
from triton_kit.cli.output import echo, notice
from triton_kit.cli.perf import (
    data,
    duration,
    llm,
    load,
    named,
    objectives,
    output,
    perf_analyzer,
    sequences,
    server,
    target,
    transport,
)
from triton_kit.cli.perf.baseline import Baseline, read_baseline
from triton_kit.cli.perf.group import from_options
from triton_kit.cli.perf.located import located

if TYPE_CHECKING:
    from triton_kit.loadtest.results.result import PerfResult

_INTERRUPTED = 128 + signal.SIGINT  # what a shell reports for Ctrl-C
_TERMINATED = 128 + signal.SIGTERM


@kit_command(
    short_help="Load-test a served model.",
    epilog="Latency counts from the time a request was due. Exit code 1: an objective "
    "is missed, or more than 1 % of the requests fail. END 0 of a range: until a load "
    "misses an objective. docs/perf-reference.md explains columns and verdicts.",
    examples=(
        "triton-kit perf -m digits --concurrency-range 1:16:5",
        "triton-kit perf -m digits --request-rate-range 100 --slo 'p99<20ms'",
        "triton-kit perf -m digits -i grpc -u gpu7:8001 -b 8 --json result.json",
        "triton-kit perf -u vllm:8000 --endpoint chat --slo 'ttft_p95<300ms'",
    ),
)
@cloup.option_group(
    "Everyday options",
    target.MODEL,
    target.URL,
    target.PROTOCOL,
    target.BATCH_SIZE,
    load.CONCURRENCY,
    load.RATE,
    duration.INTERVAL,
    data.INPUT_DATA,
    objectives.SLO,
    output.JSON,
)
@cloup.option_group("Target", named.LOAD, named.PROJECT, *target.OPTIONS)
@cloup.option_group("Load", *load.OPTIONS)
@cloup.option_group("Duration", duration.REQUEST_COUNT, *duration.OPTIONS)
@cloup.option_group("Data", data.SHAPE, *data.OPTIONS)
@cloup.option_group("Sequences", *sequences.OPTIONS)
@cloup.option_group("Language models", *llm.OPTIONS)
@cloup.option_group("Transport", *transport.OPTIONS)
@cloup.option_group("Objectives", *objectives.OPTIONS)
@cloup.option_group("Server", *server.OPTIONS)
@cloup.option_group("Output", *output.OPTIONS)
@cloup.option_group("perf_analyzer", *perf_analyzer.OPTIONS, hidden=True)
@click.version_option(package_name="triton_kit", help="Show the version.")
@click.pass_context
def command(ctx: click.Context, /, **_: Any) -> None:  # noqa: ANN401
    """Put load on a model and measure its responses (guide: docs/perf.md)."""
    from triton_kit.cli.perf.progress import showing_progress
    from triton_kit.cli.perf.report import print_result
    from triton_kit.cli.perf.spec import perf_spec
    from triton_kit.execute.executors import load_workers
    from triton_kit.loadtest.run.measure import measure

    with named.hiding_variables(ctx):
        named.drop_replaced(ctx)
        with located(ctx):
            files = from_options(output.OutputOptions, ctx.params)
            spec = perf_spec(ctx.params, keep_times=files.keep_times)
            files.check(output.files_read(ctx))
            workers = load_workers(ctx.params["executor"])
            baseline = read_baseline(ctx.params["baseline"], ctx.params["fail_if"])
        with _interrupted_by_sigterm() as was_terminated, showing_progress() as show:
            result = measure(spec, show, workers=workers)
    try:
        # Before the table, whose reader may be gone.
        files.write(result)
    finally:
        print_result(result, stderr=files.is_json_on_stdout, histogram=files.histogram)
    if result.was_interrupted:
        ctx.exit(_TERMINATED if was_terminated() else _INTERRUPTED)
    is_worse = baseline is not None and _print_changes(baseline, result, files)
    ctx.exit(1 if is_worse or result.is_failing or not result.meets_slo else 0)


def _print_changes(
    baseline: Baseline, result: PerfResult, files: output.OutputOptions
) -> bool:
    """Print what differs from the baseline; return whether that fails."""
    text, is_worse = baseline.report(result)
    (notice if files.is_json_on_stdout else echo)(f"\n{text}")
    return is_worse


@contextmanager
def _interrupted_by_sigterm() -> Iterator[Any]:
    """Let SIGTERM end the load as Ctrl-C does: with its table and its files.

    Yields a function that says whether SIGTERM came.
    """
    came: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGTERM, before)
