"""Builds on the nodes of a real Ray cluster."""

from clusters import NETS, contents_of

from triton_kit.execute.cluster import ExecutorChoice
from triton_kit.execute.ray_tasks import ray_executor
from triton_kit.execute.tasks import Task


def test_nodes_build_the_same_bytes_as_processes_here(nets, driver, kit, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    local = kit("build", nets, "-o", here, "--no-cache", "-j", "2", "-v")
    remote = kit("build", nets, "-o", there, "--no-cache", "--executor", "ray", "-v")

    assert local.exit_code == remote.exit_code == 0, remote.output
    assert contents_of(here) == contents_of(there)
    for output, where in ((local.stderr, "process "), (remote.stderr, "node ")):
        assert f"building first from net.onnx on {where}" in output
        assert f"first: reading {nets / 'net.onnx'}" in output
        assert "second: converting to fp16" in output
        assert f"(2 of 2) on {where}" in output
    assert stages_of(local) == stages_of(remote)


def stages_of(result):
    return sorted(line for line in result.stderr.splitlines() if ": " in line)


def test_a_plan_needs_a_node_with_the_targets_gpu(nets, driver, kit):
    result = kit("build", nets, "-t", "gpu", "--executor", "ray")

    assert result.exit_code == 2
    assert "compute-9.0" in result.stderr
    assert "room for 0" in result.stderr
    assert not (nets / "model_repository").exists()


def test_a_file_outside_of_the_project_is_refused(nets, driver, kit, tmp_path):
    (nets / "net.onnx").rename(tmp_path / "net.onnx")
    text = NETS.replace("net.onnx", "../net.onnx")
    (nets / "triton-kit.yaml").write_text(text)
    result = kit("build", nets, "--executor", "ray")

    assert result.exit_code == 2
    assert "net.onnx is outside of the project" in result.stderr


def test_a_task_whose_actor_is_killed_is_repeated(cluster, driver, tmp_path):
    tasks = [
        Task(name=name, call=f"task_functions:{name}", argument=argument)
        for name, argument in (("die_once", tmp_path), ("double", 4), ("fail", None))
    ]
    with ray_executor(ExecutorChoice("ray"), 2, ["task_functions"]) as executor:
        outcomes = {o.index: o for o in executor.run(tasks)}

    assert (outcomes[0].value, outcomes[1].value) == (2, 8)
    assert outcomes[2].error.hint == "right"
