"""Results in other tools' forms: perf_analyzer's CSV, Prometheus text."""

from __future__ import annotations

import csv
import io
import json
import time
from typing import Any

from triton_kit.perf.results.result import PerfResult, Run

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_SERVER_COLUMNS = {
    "Server Queue": "queue",
    "Server Compute Input": "compute_input",
    "Server Compute Infer": "compute_infer",
    "Server Compute Output": "compute_output",
}


def as_csv(result: PerfResult) -> str:
    """Return perf_analyzer's `-f` CSV: one row per load, times in microseconds.

    Client send and receive are not told apart here as there; `Network+Server Send/Recv`
    is what is left of the latency beside the stages that the server counts.
    """
    is_closed = all("concurrency" in run.load for run in result.runs)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["Concurrency" if is_closed else "Request Rate", "Inferences/Second"]
    head += ["Client Send", "Network+Server Send/Recv", *_SERVER_COLUMNS]
    head += ["Client Recv"]
    head += [f"{name} latency" for name in _QUANTILES]
    writer.writerow([*head, "Avg latency"])
    for run in result.runs:
        writer.writerow(_csv_row(run))
    return text.getvalue()


def _csv_row(run: Run) -> list[str]:
    latency = run.recording.latency
    server_us = [_stage_us(run, stage) for stage in _SERVER_COLUMNS.values()]
    mean_us = latency.mean_ns / 1000
    lag_us = run.recording.lag.mean_ns / 1000
    received_us = (latency.mean_ns - run.recording.to_first.mean_ns) / 1000
    network_us = mean_us - lag_us - received_us - sum(server_us)
    times = [lag_us, max(network_us, 0.0), *server_us, received_us]
    times += [latency.quantile_ns(share) / 1000 for share in _QUANTILES.values()]
    level = run.load.get("concurrency", run.load.get("rate"))
    return [
        f"{level:g}",
        f"{run.throughput:.3f}",
        *(f"{us:.0f}" for us in [*times, mean_us]),
    ]


def _stage_us(run: Run, stage: str) -> float:
    """Return how long a request was in a stage of the server, in the mean."""
    mean_us = {stats.model: stats.mean_us.get(stage, 0.0) for stats in run.server}
    if not run.models:
        return next(iter(mean_us.values()), 0.0)  # the model's, before its steps'
    answered = {part.name: part.recording.succeeded for part in run.models}
    weighted = sum(n * mean_us.get(model, 0.0) for model, n in answered.items())
    return weighted / max(sum(answered.values()), 1)


def as_profile(result: PerfResult) -> str:
    """Return perf_analyzer's `--profile-export-file`: the times of every request.

    Nanoseconds of the wall clock, as there; measured on the monotonic clock and
    shifted. `timestamp` is the actual send, as there; `due` is ours.
    """
    shift_ns = time.time_ns() - time.monotonic_ns()
    experiments = [_experiment(run, shift_ns) for run in result.runs]
    document = {
        "experiments": experiments,
        "version": result.environment["triton_kit"],
        "service_kind": "triton",
        "endpoint": "",
    }
    return json.dumps(document) + "\n"


def _experiment(run: Run, shift_ns: int) -> dict[str, Any]:
    mode = "concurrency" if "concurrency" in run.load else "request_rate"
    recording = run.recording
    replied_at = (times.tolist() for times in recording.replied_at)
    requests = [
        {
            "timestamp": sent + shift_ns,
            "response_timestamps": [
                at_ns + shift_ns for at_ns in next(replied_at, [last])
            ],
            "due": due + shift_ns,
            "first_byte": first + shift_ns,
        }
        for times in recording.times
        for due, sent, first, last in times.tolist()
    ]
    level = run.load.get("concurrency", run.load.get("rate"))
    return {
        "experiment": {"mode": mode, "value": level},
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
            families.setdefault(name, []).append(f"{name}{{{labels}}} {value:g}")
        latency = run.recording.latency
        name = "triton_kit_perf_latency_seconds"
        summary = families.setdefault(name, [])
        for share in (*_QUANTILES.values(), 0.999):
            value = latency.quantile_ns(share) / 1e9
            summary.append(f'{name}{{{labels},quantile="{share:g}"}} {value:g}')
        summary.append(f"{name}_sum{{{labels}}} {latency.sum_ns / 1e9:g}")
        summary.append(f"{name}_count{{{labels}}} {latency.count}")
    lines = []
    for name, samples in families.items():
        kind = "summary" if name.endswith("latency_seconds") else "gauge"
        lines += [f"# TYPE {name} {kind}", *samples]
    return "\n".join([*lines, ""])


def _escaped(label: str) -> str:
    """Return a label's value as Prometheus text has it."""
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
