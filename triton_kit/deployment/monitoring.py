"""A workload becomes what watches it: rules of Prometheus, a dashboard of Grafana.

Every expression names metrics that Triton itself serves. Those of GPUs (`nv_gpu_...`)
are there only where the server sees one.
"""

from __future__ import annotations

import json
from typing import Any  # JSON values

from triton_kit.deployment.render import render
from triton_kit.deployment.workload import Workload

# The rule that autoscaling, alerts and the dashboard share.
QUEUE_RULE = "triton:queue_ms_per_request:rate2m"
QUEUE_METRIC = "triton_queue_ms_per_request"
_BY_MODEL = "{{model}} {{pod}}{{instance}}"
# Title, unit of Grafana, expressions by legend. SEL selects the deployment's series.
_PANELS: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "Requests per second",
        "reqps",
        {"{{model}}": "sum by (model) (rate(nv_inference_request_success{SEL}[1m]))"},
    ),
    (
        "Failed requests per second",
        "reqps",
        {
            "{{model}} {{reason}}": "sum by (model, reason) "
            "(rate(nv_inference_request_failure{SEL}[1m]))"
        },
    ),
    (
        "Time in the queue per request",
        "ms",
        {_BY_MODEL: f"{QUEUE_RULE}{{SEL}}"},
    ),
    (
        "Time of a request",
        "µs",
        {
            "{{model}}": "sum by (model) (rate(nv_inference_request_duration_us{SEL}"
            "[1m])) / clamp_min(sum by (model) "
            "(rate(nv_inference_request_success{SEL}[1m])), 1e-9)"
        },
    ),
    (
        "Time of an execution",
        "µs",
        {
            "{{model}}": "sum by (model) (rate(nv_inference_compute_infer_duration_us"
            "{SEL}[1m])) / clamp_min(sum by (model) "
            "(rate(nv_inference_request_success{SEL}[1m])), 1e-9)"
        },
    ),
    (
        "Inferences per execution (batch size)",
        "short",
        {
            "{{model}}": "sum by (model) (rate(nv_inference_count{SEL}[1m])) / "
            "clamp_min(sum by (model) (rate(nv_inference_exec_count{SEL}[1m])), 1e-9)"
        },
    ),
    (
        "Waiting requests",
        "short",
        {_BY_MODEL: "nv_inference_pending_request_count{SEL}"},
    ),
    (
        "CPU of the machine",
        "percentunit",
        {"{{pod}}{{instance}}": "nv_cpu_utilization{SEL}"},
    ),
    (
        "Memory of the machine",
        "bytes",
        {
            "used {{pod}}{{instance}}": "nv_cpu_memory_used_bytes{SEL}",
            "total {{pod}}{{instance}}": "nv_cpu_memory_total_bytes{SEL}",
        },
    ),
    (
        "Pinned memory",
        "bytes",
        {
            "used {{pod}}{{instance}}": "nv_pinned_memory_pool_used_bytes{SEL}",
            "total {{pod}}{{instance}}": "nv_pinned_memory_pool_total_bytes{SEL}",
        },
    ),
)
_GPU_PANELS: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "GPU",
        "percentunit",
        {"{{gpu_uuid}}": "nv_gpu_utilization{SEL}"},
    ),
    (
        "Memory of the GPU",
        "bytes",
        {
            "used {{gpu_uuid}}": "nv_gpu_memory_used_bytes{SEL}",
            "total {{gpu_uuid}}": "nv_gpu_memory_total_bytes{SEL}",
        },
    ),
    (
        "Power of the GPU",
        "watt",
        {"{{gpu_uuid}}": "nv_gpu_power_usage{SEL}"},
    ),
)
_WIDTH, _HEIGHT = 8, 7  # of 24 columns


def selector(workload: Workload) -> str:
    """Return what selects the deployment's series: its scrape job and namespace."""
    labels = {"job": workload.spec.name, "namespace": workload.spec.namespace}
    pairs = [f'{key}="{value}"' for key, value in labels.items() if value]
    return f"{{{','.join(pairs)}}}"


def rules(workload: Workload) -> str:
    """Return a file of Prometheus rules: the queue time, and alerts."""
    return render(
        "rules.yaml.j2",
        name=workload.spec.name,
        sel=selector(workload),
        queue_rule=QUEUE_RULE,
        queue_alert_ms=10 * workload.spec.queue_target_ms,
        has_gpu=workload.needs.runs_on_gpu,
    )


def dashboard(workload: Workload) -> str:
    """Return a dashboard of Grafana; its data source is a variable."""
    panels = _PANELS + (_GPU_PANELS if workload.needs.runs_on_gpu else ())
    labels = selector(workload)
    document = {
        "uid": f"triton-{workload.spec.name}"[:40],
        "title": f"Triton: {workload.spec.name}",
        "tags": ["triton"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Data source",
                    "type": "datasource",
                    "query": "prometheus",
                }
            ]
        },
        "panels": [
            _panel(number, *panel, labels=labels) for number, panel in enumerate(panels)
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _panel(
    number: int, title: str, unit: str, queries: dict[str, str], *, labels: str
) -> dict[str, Any]:
    row, column = divmod(number, 24 // _WIDTH)
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "datasource": source,
        "gridPos": {
            **{"x": column * _WIDTH, "y": row * _HEIGHT},
            **{"w": _WIDTH, "h": _HEIGHT},
        },
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": source,
                "expr": expression.replace("{SEL}", labels),
                "legendFormat": legend,
            }
            for index, (legend, expression) in enumerate(queries.items())
        ],
    }
