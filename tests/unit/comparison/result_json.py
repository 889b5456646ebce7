"""Small results of `perf` as JSON: what the tests of comparisons read."""

import numpy as np

LATENCIES = {"mean": 1.05, "p50": 1.0, "p90": 1.3, "p95": 1.5, "p99": 2.0}


def run_json(*, latency_us=1000.0, windows=(), concurrency=1, errors=0, **more):
    return {
        "load": {"kind": "closed", "concurrency": concurrency},
        "batch_size": 1,
        "shapes": {},
        "throughput": 1e6 * concurrency / latency_us,
        "requests_per_s": 1e6 * concurrency / latency_us,
        "requests": 5000,
        "errors": errors,
        "latency_us": {name: k * latency_us for name, k in LATENCIES.items()},
        "windows": [
            {
                "requests_per_s": 1e6 * concurrency / window_us,
                "latency_us": {name: k * window_us for name, k in LATENCIES.items()},
            }
            for window_us in windows
        ],
        "generation": None,
        "ended_early": None,
        "verdict": {"kind": "stable", "reason": ""},
    } | more


def result_json(*runs, model="mlp", cpus=4):
    return {
        "schema": "triton-kit.perf/2",
        "spec": {"protocol": "http", "transport": {}, "input_data": "random"},
        "model": {"name": model, "inputs": []},
        "environment": {"cpus": cpus, "cpu": "one"},
        "runs": list(runs),
    }


def noisy_runs(rng, *, scale=1.0, runs=5, windows=3, between=0.03, within=0.03):
    """Return runs whose latencies vary from run to run, and from window to window."""
    made = []
    for _ in range(runs):
        level_us = 1000 * scale * np.exp(rng.normal(0, between))
        parts = (level_us * np.exp(rng.normal(0, within, windows))).tolist()
        made.append(run_json(latency_us=float(np.mean(parts)), windows=parts))
    return made
