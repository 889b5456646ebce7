"""A workload becomes a compose stack: Triton, Prometheus, Grafana, a load test."""

from __future__ import annotations

from typing import Any  # what a template shows

from triton_kit.deployment.monitoring import dashboard, rules
from triton_kit.deployment.render import render
from triton_kit.deployment.workload import (
    TLS,
    Workload,
    refuse_fields,
    refuse_settings,
)
from triton_kit.serving.containers.container import KEY_VARIABLE, PORTS

# What only a cluster has.
CLUSTER_ONLY = (
    *("claim", "mig", "namespace", "max_replicas", "replicas", "cpus", "memory"),
    *("monitoring_namespace", "drain_s"),
)
_KEY = f"${{{KEY_VARIABLE}:?README.md says how to make it}}"


def compose_files(work: Workload) -> dict[str, str]:
    """Return the files of the stack by their path in the folder."""
    refuse_fields(work.spec, CLUSTER_ONLY, "a compose stack")
    refuse_settings(work.spec.server, ("key_file",), "a compose stack")
    access = work.server.access
    values: dict[str, Any] = {
        "spec": work.spec,
        "work": work,
        "name": work.spec.name,
        "argv": work.argv(compose_word, _KEY),
        "ready": [compose_word(word) for word in work.ready_command],
        "repository": compose_word(str(work.spec.server.repository.resolve())),
        "tls": {
            compose_word(str(path.resolve())): f"{TLS}/{name}"
            for name, path in work.tls_files.items()
        },
        "variables": {
            **{name: compose_word(text) for name, text in work.variables.items()},
            # Without a value, compose takes it from its own environment.
            **dict.fromkeys(work.secret_variables),
        },
        "ports": {
            kind: (
                access.metrics_address if kind == "metrics" else access.address,
                work.server.ports[f"{kind}-port"] or port,
            )
            for kind, port in PORTS.items()
        },
        "model": work.needs.load_model or "MODEL",
    }
    files = {
        name: render(f"compose/{name}.j2", **values)
        for name in ("compose.yaml", "prometheus.yml", "README.md")
    }
    grafana = "grafana/provisioning"
    for name in ("datasources/prometheus.yaml", "dashboards/files.yaml"):
        files[f"{grafana}/{name}"] = render(f"compose/{name.partition('/')[0]}.yaml.j2")
    files["grafana/dashboards/triton.json"] = dashboard(work)
    files["rules.yml"] = rules(work)
    return files


def compose_word(word: str) -> str:
    """Return a word that compose takes literally: it replaces `$NAME`."""
    return word.replace("$", "$$")
