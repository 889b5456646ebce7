"""The compose stack on a real engine: Triton, Prometheus and the load test.

Images: the stand-in for Triton, Debian's Prometheus and the kit's own. There is no
Grafana here: the expressions of its dashboard are asked of Prometheus itself.
"""

import json
import os
import re
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager

import pytest
import yaml
from docker_commands import docker, run_kit
from kit_image import IMAGE

PROJECT = "kit-stack"
COMPARISON = re.compile(r" ([<>]) ")
ABSENT = re.compile(r"^absent\((.*)\)$", re.DOTALL)


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def compose(folder, *words):
    return subprocess.run(
        ["docker-compose", "--project-name", PROJECT, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"COMPOSE_HTTP_TIMEOUT": "110"},
    )


def services(folder):
    return yaml.safe_load((folder / "compose.yaml").read_text())["services"]


@contextmanager
def open_bridge():
    """Let the containers of the stack reach each other, as engines do by default.

    This engine leaves the machine's firewall alone, which may drop their packets.
    """
    found = docker("network", "inspect", "--format", "{{.Id}}", f"{PROJECT}_default")
    rule = ["FORWARD", "-i", f"br-{found[:12]}", "-o", f"br-{found[:12]}"]
    rule += ["-j", "ACCEPT"]
    subprocess.run(["iptables", "-w", "-I", *rule], check=True)
    try:
        yield
    finally:
        subprocess.run(["iptables", "-w", "-D", *rule], check=True)


@pytest.fixture(scope="module")
def stack(engine, built_digits, tmp_path_factory):
    """The running stack; yields its folder, and the URL of Prometheus."""
    folder = tmp_path_factory.mktemp("stack") / "out"
    words = ("--to", "compose", "--release", "24.10", "-o", folder)
    done = run_kit("deploy", built_digits, *words)
    assert done.returncode == 0, done.stderr
    http, grpc, metrics, prometheus = free_ports(4)
    values = {
        **{"TRITON_KIT_KEY": "k" * 32, "TRITON_KIT_IMAGE": IMAGE},
        **{"TRITON_HTTP_PORT": http, "TRITON_GRPC_PORT": grpc},
        **{"TRITON_METRICS_PORT": metrics, "PROMETHEUS_PORT": prometheus},
        "PROMETHEUS_IMAGE": "prometheus-local:2",
    }
    (folder / ".env").write_text("".join(f"{k}={v}\n" for k, v in values.items()))
    try:
        up = compose(folder, "up", "--detach", "triton", "prometheus")
        assert up.returncode == 0, up.stderr
        with open_bridge():
            # It waits until every model is ready.
            words = services(folder)["perf"]["command"]
            load = compose(folder, "run", "--rm", "perf", *words, "-p", "5000")
            assert load.returncode == 0, load.stdout + load.stderr
            yield folder, f"http://127.0.0.1:{prometheus}"
    finally:
        down = compose(folder, "down", "--volumes")
    assert down.returncode == 0, down.stderr


def ask(url, path, **fields):
    query = urllib.parse.urlencode(fields)
    with urllib.request.urlopen(f"{url}/api/v1/{path}?{query}", timeout=10) as response:
        return json.load(response)["data"]


def await_data(url, expression, *, within_s=30):
    deadline_s = time.monotonic() + within_s
    while not (found := ask(url, "query", query=expression)["result"]):
        assert time.monotonic() < deadline_s, f"no data: {expression}"
        time.sleep(0.5)
    return found


def test_every_expression_returns_data(stack):
    folder, url = stack
    dashboard = json.loads((folder / "grafana/dashboards/triton.json").read_text())
    shown = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    [group] = yaml.safe_load((folder / "rules.yml").read_text())["groups"]
    assert len(shown) >= 12
    for expression in [*shown, *(rule["expr"] for rule in group["rules"])]:
        # An alert that does not fire has no data: ask what it compares.
        text = COMPARISON.sub(r" \1 bool ", ABSENT.sub(r"\1", expression))
        assert await_data(url, text)
    assert float(await_data(url, shown[0])[0]["value"][1]) >= 0


def test_prometheus_takes_every_rule_and_fires_none(stack):
    folder, url = stack
    [group] = ask(url, "rules")["groups"]
    wanted = yaml.safe_load((folder / "rules.yml").read_text())["groups"][0]["rules"]

    assert len(group["rules"]) == len(wanted) >= 5
    for rule in group["rules"]:
        assert rule["health"] == "ok", rule
        assert not rule.get("alerts"), rule


def test_only_loopback_is_published(stack):
    folder, _ = stack
    for name in compose(folder, "ps", "--quiet").stdout.split():
        ports = json.loads(docker("inspect", name))[0]["NetworkSettings"]["Ports"]
        hosts = {b["HostIp"] for bound in ports.values() for b in bound or ()}
        assert hosts == {"127.0.0.1"}
