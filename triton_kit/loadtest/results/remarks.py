"""What a reader must know beside the table, line by line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any  # JSON rows of objectives and metrics

import numpy as np

from triton_kit.loadtest.record.recorder import Recording
from triton_kit.loadtest.record.stability import LONGEST_WARM_UP
from triton_kit.loadtest.record.stats import ModelStats
from triton_kit.loadtest.results.generation import GenerationFigures
from triton_kit.loadtest.results.repeats import medians
from triton_kit.loadtest.results.run import Run, Runs
from triton_kit.loadtest.results.slo import RATES
from triton_kit.loadtest.results.units import duration, rate

_LONGEST_EXAMPLE = 200
# Chunks that one read returned have the same time.
_TOGETHER_NS = 1_000
_BAR = 40  # characters of a bar that is all requests
# Metric -> how it is shown: its name, which level of it, scale, unit.
_METRICS = {
    "nv_cpu_utilization": ("CPU", "mean", 100.0, "%"),
    "nv_cpu_memory_used_bytes": ("memory", "max", 2.0**-20, "MiB"),
}


def remarks(result: Runs) -> list[str]:
    """Return errors, objectives, findings, and what the server itself counted."""
    lines = medians(result.runs)
    for kind in (_errors, _retried, _findings, _server, _responses, _gpus, _metrics):
        lines += [f"{run.name}: {text}" for run in result.runs for text in kind(run)]
    lines += [
        f"{run.name} {_objective(row)}"
        for run, objectives in zip(result.runs, result.objectives, strict=False)
        for row in objectives
    ]
    is_counted = result.spec.get("warm_up_requests")
    asked_s = 0.0 if is_counted else result.spec.get("warm_up_s", 0.0)
    lines += [
        f"{run.name}: warm-up of {run.warm_up_s:.3g} s instead of {asked_s:g} s, "
        + (
            "until two windows agreed"
            if run.warm_up_s < 0.99 * LONGEST_WARM_UP * asked_s
            else "in which no two windows agreed: a longer --warm-up may help"
        )
        for run in result.runs
        if asked_s and run.warm_up_s > 1.2 * asked_s
    ]
    if any(run.cpu.is_server_hidden for run in result.runs):
        lines.append(
            "the server's process cannot be seen, so its CPU is not told from that of "
            "other processes: --server-pid PID"
        )
    lines += _server_without_extensions(result)
    if result.spec.get("search", "every") != "every":
        found = result.highest_load_met or "none that was measured"
        lines.append(f"the highest load that meets the objectives: {found}")
    if result.was_interrupted:
        lines.append("interrupted: the last load was not measured to its end")
    return lines


def _server_without_extensions(result: Runs) -> Iterator[str]:
    """Say what is not known of a server that has no extensions of the protocol."""
    described = [m for m in result.models if not m.get("is_configured", True)]
    for model in described:
        shapes = "shapes include any batch axis"
        if model["max_batch_size"] is None:
            shapes = "first axis of its tensors is the batch (-b)"
        yield (
            f"the server has no configuration of model {model['name']}, so its "
            f"metadata serves: the {shapes}"
        )
    if result.spec.get("transport", {}).get("tensor_format") == "json":
        yield "tensors were sent as JSON (--tensor-format)"
    if described and not any(run.server for run in result.runs):
        yield "the server keeps no statistics, so queue and compute times are not known"


def _errors(run: Run) -> Iterator[str]:
    for kind, tally in sorted(run.recording.errors.items()):
        example = " ".join(tally.example.split())[:_LONGEST_EXAMPLE]
        yield f"{tally.count} x {kind}" + (f": {example}" if example else "")


def _retried(run: Run) -> Iterator[str]:
    if count := run.recording.retried:
        yield f"{count} x sent again, because the server closed the connection first"


def _findings(run: Run) -> Iterator[str]:
    for finding in run.verdict.findings:
        yield str(finding)


def _server(run: Run) -> Iterator[str]:
    for stats in run.server:
        if stats.requests:
            yield f"{stats.model} on the server: {_stages(stats)}"


def _stages(stats: ModelStats) -> str:
    means = ", ".join(
        f"{name} {duration(1e3 * us)}" for name, us in stats.mean_us.items()
    )
    batch = stats.inferences / stats.executions if stats.executions else 0.0
    return f"{means}; {batch:.1f} inferences per execution"


def _responses(run: Run) -> Iterator[str]:
    recording: Recording = run.recording
    if run.generation is not None:
        yield from _tokens(run.generation)
        return
    if not recording.responses:
        return
    parts = [f"{recording.responses} responses"]
    for when, histogram in (
        ("first after", recording.to_first),
        ("then every", recording.between),
    ):
        if histogram.count:
            parts.append(f"{when} p50 {duration(histogram.quantile_ns(0.5))}")
    yield ", ".join(parts)


def _gpus(run: Run) -> Iterator[str]:
    for gpu in run.gpus:
        yield str(gpu)


def _tokens(figures: GenerationFigures) -> Iterator[str]:
    """Say how many tokens a request has and what counted them, and what was good."""
    tokens = figures.output_tokens
    if len(tokens):
        text = f"{tokens.mean():.4g} output tokens per request"
        if len(figures.input_tokens):
            text += f", {figures.input_tokens.mean():.4g} input tokens"
        text += f" (counted by {' and '.join(figures.counted_by)})"
        gap_ns = figures.icl.quantile_ns(0.5)
        if gap_ns >= _TOGETHER_NS:
            text += f"; a chunk every {duration(gap_ns)} (p50)"
        yield text
        if figures.icl.count and gap_ns < _TOGETHER_NS:
            yield (
                "most chunks arrive together with the one before, so ITL says little: "
                "the server or a proxy buffers the stream"
            )
    if figures.good_share is not None and figures.good_per_s is not None:
        yield (
            f"goodput {rate(figures.good_per_s)} requests/s: "
            f"{100 * figures.good_share:.3g} % of them keep the bounds of --slo"
        )
    if figures.cancelled:
        yield f"{figures.cancelled} requests cancelled by the client"


def _metrics(run: Run) -> Iterator[str]:
    """Show the load of the server's machine; everything else is in the JSON."""
    if not run.metrics:
        return
    shown = []
    for row in run.metrics:
        if row["name"] in _METRICS and row["kind"] == "gauge":
            name, level, scale, unit = _METRICS[row["name"]]
            shown.append(f"{name} {scale * row[level]:,.0f} {unit} ({level})")
    rest = f"{len(run.metrics)} metrics in --json"
    yield f"server metrics: {', '.join([*shown, rest])}"


def _objective(row: Mapping[str, Any]) -> str:
    """Say in words whether an objective is met, and by which value."""
    verb = "meets" if row["is_met"] else "misses"
    value, text = row["value"], row["objective"]
    if value is None:
        shown = "no successful response"
    elif text.startswith("errors"):
        shown = f"{100 * value:.3g} %"
    else:
        is_rate = text.startswith(RATES)
        shown = rate(value) if is_rate else duration(1e3 * value)
    return f"{verb} {text}: {shown}"


def histogram_lines(result: Runs) -> list[str]:
    """Return the latencies of each run as bars, with bounds that double."""
    lines: list[str] = []
    for run in result.runs:
        latency = run.recording.latency
        if not latency.count:
            continue
        values, counts = latency.values_ns()
        doublings = np.floor(np.log2(values)).astype(np.int64)
        lines.append(f"{run.name}: latency of {latency.count:,} requests")
        for exponent in range(doublings[0], doublings[-1] + 1):
            count = int(counts[doublings == exponent].sum())
            bar = "#" * round(_BAR * count / latency.count)
            bounds = f"{duration(2.0**exponent)} - {duration(2.0 ** (exponent + 1))}"
            lines.append(f"  {bounds:>19} {count:>9,} {bar}".rstrip())
    return lines
