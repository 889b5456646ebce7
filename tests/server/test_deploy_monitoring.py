"""Rules and dashboards: real metrics only, and the figures that they promise."""

import json
import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from deployment_builders import cpu_repository, gpu_repository

CACHE = Path(__file__).parents[2] / ".cache"
METRIC = re.compile(r"\bnv_\w+")
# A server without a GPU has none of these.
OF_GPUS = {
    "nv_gpu_utilization",
    "nv_gpu_memory_total_bytes",
    "nv_gpu_memory_used_bytes",
    "nv_gpu_power_usage",
}
QUEUE = "triton:queue_ms_per_request:rate2m"


def series(name, model, step, labels=""):
    """Return a counter that grows by `step` every 15 seconds, for half an hour."""
    where = f'job="triton",namespace="n",pod="p",model="{model}"{labels}'
    return {"series": f"{name}{{{where}}}", "values": f"0+{step}x120"}


@pytest.fixture(scope="session")
def promtool():
    """Debian's promtool: the installed one, or unpacked under .cache/."""
    if found := shutil.which("promtool"):
        return found
    folder = CACHE / "prometheus"
    binary = folder / "usr" / "bin" / "promtool"
    CACHE.mkdir(exist_ok=True)
    with FileLock(CACHE / "prometheus.lock"):
        if not binary.exists():
            folder.mkdir(exist_ok=True)
            get = "apt-get download prometheus"
            script = f"{get} || {{ apt-get update && {get}; }}"
            script += " && dpkg -x prometheus_*.deb ."
            got = subprocess.run(
                ["sh", "-c", script],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            if got.returncode:
                must = os.environ.get("CI") == "true" and os.geteuid() == 0
                say = pytest.fail if must else pytest.skip
                say(f"no promtool: apt cannot get prometheus: {got.stderr[-200:]}")
    return str(binary)


@pytest.fixture
def deployed(kit, tmp_path):
    """Deploy to Kubernetes; return the folder."""

    def run(repository, *words):
        out = tmp_path / "out"
        result = kit("deploy", repository, "--to", "kubernetes", "-o", out, *words)
        assert result.exit_code == 0, result.output
        return out

    return run


def rule_file(out):
    text = (out / "components" / "monitoring" / "prometheusrule.yaml").read_text()
    path = out.parent / "rules.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(text)["spec"]))
    return path


def expressions(out):
    dashboard = json.loads(
        (out / "components" / "monitoring" / "dashboard.json").read_text()
    )
    shown = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    groups = yaml.safe_load(rule_file(out).read_text())["groups"]
    return shown + [rule["expr"] for group in groups for rule in group["rules"]]


@pytest.mark.server
def test_expressions_name_metrics_that_the_server_has(tmp_path, deployed, loaded):
    with urllib.request.urlopen(loaded.metrics_url, timeout=10) as response:
        served = {*METRIC.findall(response.read().decode())}

    out = deployed(gpu_repository(tmp_path / "models", "m"), "--gpus", 1)
    named = {*METRIC.findall(" ".join(expressions(out)))}

    assert named >= OF_GPUS
    assert named - OF_GPUS <= served
    assert len(named - OF_GPUS) >= 12


def test_a_server_without_gpus_has_no_expression_of_gpus(tmp_path, deployed):
    out = deployed(cpu_repository(tmp_path / "models"))

    assert not OF_GPUS & {*METRIC.findall(" ".join(expressions(out)))}


def test_the_dashboard_is_one_that_grafana_reads(tmp_path, deployed):
    out = deployed(gpu_repository(tmp_path / "models", "m"), "--gpus", 1)

    dashboard = json.loads(
        (out / "components" / "monitoring" / "dashboard.json").read_text()
    )

    ids = [panel["id"] for panel in dashboard["panels"]]
    places = [tuple(p["gridPos"].values()) for p in dashboard["panels"]]
    assert len({*ids}) == len({*places}) == len(ids)
    assert all(x + w <= 24 for x, _, w, _ in places)
    (variable,) = dashboard["templating"]["list"]
    assert variable["query"] == "prometheus"


def test_promtool_accepts_rules_and_queries(tmp_path, deployed, promtool):
    out = deployed(gpu_repository(tmp_path / "models", "m"), "--gpus", 1)
    rules = rule_file(out)
    shown = tmp_path / "queries.yaml"
    records = [
        {"record": f"q{number}", "expr": text}
        for number, text in enumerate(expressions(out))
    ]
    shown.write_text(yaml.safe_dump({"groups": [{"name": "q", "rules": records}]}))

    for path in (rules, shown):
        done = subprocess.run(
            [promtool, "check", "rules", path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_queue_time_is_that_of_the_slowest_model(tmp_path, deployed, promtool):
    """And the requests of an ensemble, or a model without any, do not lower it."""
    out = deployed(cpu_repository(tmp_path / "models"))
    adapter = yaml.safe_load((out / "prometheus-adapter-values.yaml").read_text())
    query = adapter["rules"]["custom"][0]["metricsQuery"]
    for word, value in {
        "<<.GroupBy>>": "pod",
        "<<.Series>>": QUEUE,
        "<<.LabelMatchers>>": 'namespace="n",pod=~"p|q"',
    }.items():
        query = query.replace(word, value)
    queue, count = "nv_inference_queue_duration_us", "nv_inference_request_success"
    failed = "nv_inference_request_failure"
    tests = [
        {
            "interval": "15s",
            "input_series": [
                series(queue, "slow", 60_000 * 40, ',version="1"'),
                series(count, "slow", 4, ',version="1"'),
                series(queue, "slow", 60_000 * 40, ',version="2"'),
                series(count, "slow", 4, ',version="2"'),
                series(queue, "quick", 4_000),
                series(count, "quick", 4),
                series(failed, "quick", 1, ',reason="OTHER"'),
                series(queue, "ensemble", 0),
                series(count, "ensemble", 400),
                series(queue, "idle", 0),
                series(count, "idle", 0),
            ],
            "promql_expr_test": [
                {
                    "expr": f"{QUEUE}",
                    "eval_time": "20m",
                    "exp_samples": [
                        {
                            "labels": f'{QUEUE}{{job="triton",namespace="n",pod="p",'
                            f'model="{model}"}}',
                            "value": value,
                        }
                        for model, value in {
                            **{"slow": 600, "quick": 1, "ensemble": 0, "idle": 0}
                        }.items()
                    ],
                },
                {
                    "expr": query,
                    "eval_time": "20m",
                    "exp_samples": [{"labels": '{pod="p"}', "value": 600}],
                },
            ],
            "alert_rule_test": [
                {
                    "eval_time": "20m",
                    "alertname": name,
                    "exp_alerts": [
                        {
                            "exp_labels": {
                                **{"job": "triton", "namespace": "n"},
                                **{"model": model, "severity": severity},
                            }
                        }
                        for model, severity in firing.items()
                    ],
                }
                for name, firing in {
                    "TritonRequestsWait": {"slow": "warning"},
                    "TritonRequestsFail": {"quick": "critical"},
                    "TritonServesNothing": {},
                }.items()
            ],
        }
    ]
    # What the alerts say is not compared.
    rules = yaml.safe_load(rule_file(out).read_text())
    for rule in rules["groups"][0]["rules"]:
        rule.pop("annotations", None)
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    path = tmp_path / "tests.yaml"
    path.write_text(
        yaml.safe_dump(
            {"rule_files": ["rules.yaml"], "evaluation_interval": "15s", "tests": tests}
        )
    )

    done = subprocess.run(
        [promtool, "test", "rules", path], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
