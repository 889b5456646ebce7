"""Results in other tools' forms: perf_analyzer's CSV, Prometheus text."""

from __future__ import annotations

import csv
import io
import json
import time
from typing import Any

from triton_kit.loadtest.results.result import PerfResult
from triton_kit.loadtest.results.run import Run

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_SERVER_COLUMNS = {
    "Server Queue": "queue",
    "Server Compute Input": "compute_input",
    "Server Compute Infer": "compute_infer",
    "Server Compute Output": "compute_output",
}


# As perf_analyzer names them.
_OPENAI_PATHS = {"chat": "v1/chat/completions", "completions": "v1/completions"}

# Column -> the gauge that it shows, which level of it, and the format of its number.
_GPU_COLUMNS = {
    "Avg GPU Utilization": ("nv_gpu_utilization", "mean", "g"),
    "Avg GPU Power Usage": ("nv_gpu_power_usage", "mean", "g"),
    "Max GPU Memory Usage": ("nv_gpu_memory_used_bytes", "max", ".0f"),
    "Total GPU Memory": ("nv_gpu_memory_total_bytes", "max", ".0f"),
}


def as_csv(result: PerfResult, *, verbose: bool = False) -> str:
    """Return perf_analyzer's `-f` CSV: one row per load, times in microseconds.

    `Network+Server Send/Recv` is what is left of the latency beside the stages that the
    server counts. With `verbose` the columns of `--verbose-csv` follow.
    """
    is_closed = all("concurrency" in run.load for run in result.runs)
    has_streams = any(model["decoupled"] for model in result.models) and any(
        run.recording.responses for run in result.runs
    )
    asked = (result.spec["stability"] or {}).get("percentile")
    rows = []
    for run in result.runs:
        row = {"Concurrency" if is_closed else "Request Rate": f"{_level(run):g}"}
        if result.spec.get("sweep"):
            row |= _variant(run)
        row |= {"Inferences/Second": f"{run.throughput:.3f}"}
        if has_streams:
            row |= {"Response Throughput": f"{_responses_per_s(run):.3f}"}
        row |= _stages(run) | _latencies(run, asked)
        if verbose:
            row |= _verbose(run, has_mean=asked is None)
        if verbose and result.spec["metrics_url"] is not None:
            row |= _gpus(run)
        rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _variant(run: Run) -> dict[str, str]:
    """Return what tells the runs of a sweep apart, beside the load."""
    which = run.figures.which
    shapes = (f"{name}:{'x'.join(map(str, s))}" for name, s in which["shapes"].items())
    return {"Batch Size": str(which["batch_size"]), "Shapes": " ".join(shapes)}


def _level(run: Run) -> float:
    """Return the concurrency or the rate; a load of stages has a mean rate only."""
    load = run.load
    level: float = load.get("concurrency", load.get("rate", run.send_rate or 0.0))
    return level


def _responses_per_s(run: Run) -> float:
    return run.requests_per_s * run.recording.responses / max(run.recording.total, 1)


def _client_us(run: Run) -> tuple[float, float]:
    """Return how long a request was with the client: before it left, and at the end."""
    recording = run.recording
    received_ns = recording.latency.mean_ns - recording.to_first.mean_ns
    return recording.lag.mean_ns / 1000, received_ns / 1000


def _stages(run: Run) -> dict[str, str]:
    sent_us, received_us = _client_us(run)
    server_us = {name: _stage_us(run, key) for name, key in _SERVER_COLUMNS.items()}
    outside_us = run.recording.latency.mean_ns / 1000 - sum(server_us.values())
    times = {
        "Client Send": sent_us,
        "Network+Server Send/Recv": max(outside_us - sent_us - received_us, 0.0),
        **server_us,
        "Client Recv": received_us,
    }
    return {name: f"{us:.0f}" for name, us in times.items()}


def _latencies(run: Run, asked: float | None) -> dict[str, str]:
    """Return the usual percentiles and the one that was asked for, in their order."""
    percents = {f"p{percent:g}": percent / 100 for percent in [asked] if percent}
    shares = sorted((percents | _QUANTILES).items(), key=lambda entry: entry[1])
    return {
        f"{name} latency": f"{run.recording.latency.quantile_ns(share) / 1000:.0f}"
        for name, share in shares
    }


def _verbose(run: Run, *, has_mean: bool) -> dict[str, str]:
    """Return the further columns; perf_analyzer has a percentile or the mean."""
    mean_us = run.recording.latency.mean_ns / 1000
    client_us = sum(_client_us(run))
    times = {"Avg latency": mean_us} if has_mean else {}
    times |= {"request/response": client_us, "response wait": mean_us - client_us}
    return {name: f"{us:.0f}" for name, us in times.items()}


def _gpus(run: Run) -> dict[str, str]:
    """Return the figures of the GPUs, one after another as `UUID:VALUE;`."""
    return {
        column: "".join(
            f"{row['labels'].get('gpu_uuid', '')}:{row[level]:{form}};"
            for row in run.metrics
            if row["name"] == metric
        )
        for column, (metric, level, form) in _GPU_COLUMNS.items()
    }


def _stage_us(run: Run, stage: str) -> float:
    """Return how long a request was in a stage of the server, in the mean."""
    mean_us = {stats.model: stats.mean_us.get(stage, 0.0) for stats in run.server}
    if not run.models:
        return next(iter(mean_us.values()), 0.0)  # the model's, before its steps'
    succeeded = {part.name: part.recording.succeeded for part in run.models}
    weighted = sum(n * mean_us.get(model, 0.0) for model, n in succeeded.items())
    return weighted / max(sum(succeeded.values()), 1)


def as_profile(result: PerfResult) -> str:
    """Return perf_analyzer's `--profile-export-file`: the times of every request.

    Nanoseconds of the wall clock, as there; measured on the monotonic clock and
    shifted. `timestamp` is the actual send, as there; `due` is ours.
    """
    shift_ns = time.time_ns() - time.monotonic_ns()
    experiments = [_experiment(run, shift_ns) for run in result.runs]
    endpoint = _OPENAI_PATHS.get(result.spec["transport"]["endpoint"], "")
    document = {
        "experiments": experiments,
        "version": result.environment["triton_kit"],
        "service_kind": "openai" if endpoint else "triton",
        "endpoint": endpoint,
    }
    return json.dumps(document) + "\n"


def _experiment(run: Run, shift_ns: int) -> dict[str, Any]:
    mode = "concurrency" if "concurrency" in run.load else "request_rate"
    recording = run.recording
    responded_at = (times.tolist() for times in recording.responded_at)
    requests = [
        {
            "timestamp": sent + shift_ns,
            "response_timestamps": [
                at_ns + shift_ns for at_ns in next(responded_at, [last])
            ],
            "due": due + shift_ns,
            "first_byte": first + shift_ns,
        }
        for times in recording.times
        for due, sent, first, last in times.tolist()
    ]
    return {
        "experiment": {"mode": mode, "value": _level(run)},
        "requests": requests,
        "window_boundaries": [at_ns + shift_ns for at_ns in run.boundaries_ns],
    }


def as_prometheus(result: PerfResult) -> str:
    """Return the runs as Prometheus text, for a push gateway or a node exporter."""
    model = result.model["name"]
    families: dict[str, list[str]] = {}
    for run in result.runs:
        labels = f'model="{_escaped(model)}",load="{_escaped(run.name)}"'
        figures = {
            "triton_kit_perf_throughput": run.throughput,
            "triton_kit_perf_requests": run.recording.succeeded,
            "triton_kit_perf_errors": run.errors,
            "triton_kit_perf_client_cpu_seconds_per_request": (
                run.client_cpu_us_per_request / 1e6
            ),
        }
        for name, value in figures.items():
            families.setdefault(name, []).append(f"{name}{{{labels}}} {_number(value)}")
        latency = run.recording.latency
        name = "triton_kit_perf_latency_seconds"
        summary = families.setdefault(name, [])
        for share in (*_QUANTILES.values(), 0.999):
            value = latency.quantile_ns(share) / 1e9
            summary.append(f'{name}{{{labels},quantile="{share:g}"}} {_number(value)}')
        summary.append(f"{name}_sum{{{labels}}} {_number(latency.sum_ns / 1e9)}")
        summary.append(f"{name}_count{{{labels}}} {latency.count}")
    lines = []
    for name, samples in families.items():
        kind = "summary" if name.endswith("latency_seconds") else "gauge"
        lines += [f"# TYPE {name} {kind}", *samples]
    return "\n".join([*lines, ""])


def _number(value: float) -> str:
    """Return a number with all its digits: a count of millions is exact."""
    return repr(float(value))


def _escaped(label: str) -> str:
    """Escape a label's value for Prometheus text."""
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
