"""Nodes that are lost while tasks run on them."""

import subprocess
import sys

import pytest
from clusters import contents_of, eventually, lose, waiting_pass

from triton_kit.errors import TransportError
from triton_kit.execute import ray_hosts
from triton_kit.execute.cluster import ExecutorChoice, connected
from triton_kit.execute.ray_tasks import ray_executor
from triton_kit.execute.tasks import Task

# Begins on a node, and waits until it is known that it has.
PASS = """
import time
from pathlib import Path

def wait(model):
    folder = Path({marks!r})
    (folder / "began").touch()
    while folder.exists() and not (folder / "go").exists():
        time.sleep(0.05)
    return model
"""


def run_one(folder, needs, on_progress):
    call = "task_functions:say_and_wait"
    task = Task(name="waiting", call=call, argument=folder, needs=needs)
    with ray_executor(ExecutorChoice("ray"), None, ["task_functions"]) as executor:
        [outcome] = executor.run([task], on_progress)
    return outcome


def test_stages_arrive_while_the_task_runs(driver, tmp_path, caplog):
    caplog.set_level("INFO", "triton_kit")
    found = []

    def report(progress):
        found.append(progress)
        if progress.stage == "begin 1":
            (tmp_path / "go").touch()

    outcome = run_one(tmp_path, {}, report)
    assert [progress.stage for progress in found] == ["", "begin 1", "end 1"]
    assert {progress.where for progress in found} == {outcome.where}


def test_a_task_whose_node_is_lost_is_repeated_on_another(
    driver, cluster, add_node, tmp_path, caplog
):
    caplog.set_level("INFO", "triton_kit")
    twins = [add_node(twin=1), add_node(twin=1)]
    stages = []

    def report(progress):
        stages.append(progress.stage)
        if progress.stage == "begin 1":
            [victim] = [n for n in twins if n.node_id[:6] in progress.where]
            twins.remove(victim)
            lose(cluster, victim)
        elif progress.stage == "begin 2":
            (tmp_path / "go").touch()

    outcome = run_one(tmp_path, {"twin": 1.0}, report)
    assert outcome.value == 2
    assert twins[0].node_id[:6] in outcome.where
    assert stages == ["", "begin 1", "", "begin 2", "end 2"]
    [warning] = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "waiting: its process died (node " in warning
    assert warning.endswith("), trying again (2 of 3)")


def test_a_value_that_is_lost_with_its_node_is_computed_again(
    driver, cluster, add_node
):
    twins = {node.node_id[:6]: node for node in (add_node(twin=1), add_node(twin=1))}
    found = []

    def report(progress):
        found.append(progress)
        # The first task has ended, and its value is on the node.
        if len(found) == 2:
            [number] = [number for number in twins if number in progress.where]
            lose(cluster, twins.pop(number))

    call, needs = "task_functions:million_bytes", {"twin": 1.0}
    tasks = [
        Task(name=letter, call=call, argument=letter, needs=needs) for letter in "ab"
    ]
    with ray_executor(ExecutorChoice("ray"), 1, ["task_functions"]) as executor:
        outcomes = list(executor.run(tasks, report))
    assert {o.index: o.value[:1] for o in outcomes} == {0: "a", 1: "b"}
    assert {o.where for o in outcomes} == {found[-1].where}
    assert found[-1].where != found[0].where
    assert len(found) >= 4


def test_a_task_that_no_node_is_left_for_ends_the_run(
    driver, cluster, add_node, tmp_path, caplog, monkeypatch
):
    caplog.set_level("INFO", "triton_kit")
    monkeypatch.setattr(ray_hosts, "NODE_WITHIN_S", 2.0)
    lone = add_node(lone=1)

    def report(progress):
        if progress.stage == "begin 1":
            lose(cluster, lone)

    match = (
        "waiting waited 2 s for a node: 1 asked for, with 1 CPU and the resource lone"
    )
    with pytest.raises(TransportError, match=match) as caught:
        run_one(tmp_path, {"lone": 1.0}, report)
    assert "in the place of a lost one" in caught.value.hint


@pytest.fixture
def waits(nets, tmp_path):
    """A pass that waits, beside the networks; yields the folder of its marks."""
    with waiting_pass(nets, tmp_path, PASS) as marks:
        yield marks


@pytest.mark.parametrize("command", ["convert", "build"])
def test_work_of_a_lost_node_is_done_on_another(
    command, nets, waits, cluster, add_node, occupy, tmp_path
):
    here, there = tmp_path / "here", tmp_path / "there"
    results, log = tmp_path / "results", tmp_path / "log"
    words = ["build", ".", "--no-cache", "-v"]
    if command == "convert":
        words = ["convert", "net.onnx", "--pass", "waits:wait"]
    argv = [sys.executable, "-m", "triton_kit", *words, "-o"]
    free = occupy(cluster.head_node, *cluster.worker_nodes)
    victim = add_node()
    with results.open("wb") as stdout, log.open("wb") as stderr:
        process = subprocess.Popen(
            [*argv, there, "--executor", "ray"],
            **{"cwd": nets, "stdout": stdout, "stderr": stderr},
        )
        with process:
            eventually(lambda: (waits / "began").exists() or process.poll())
            lose(cluster, victim)
            free()
            (waits / "go").touch()
    text = log.read_text()
    assert process.returncode == 0, text
    assert f"({victim.node_id[:6]})" in text
    assert "trying again (2 of 3)" in text
    assert "(raylet)" not in results.read_text()
    assert "preparing the graph" in text
    assert text.count("converting to ") >= 1
    subprocess.run([*argv, here], cwd=nets, check=True)
    assert contents_of(here) == contents_of(there)


def test_what_ray_prints_about_nodes_is_not_on_stdout(cluster, capsys):
    from ray._private.worker import print_to_stdstream

    message = {"lines": ["Raylet is terminated."], "pid": "raylet", "is_err": False}
    with connected(ExecutorChoice("ray")):
        print_to_stdstream(message, ignore_prefix=False)
        assert capsys.readouterr() == ("", "")
