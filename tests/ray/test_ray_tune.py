"""A search on the nodes of a real cluster: its trials, its files, and what dies."""

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace

import psutil
import pytest
from clusters import STORE_BYTES, WITHIN_S, eventually, lose

from triton_kit.build_project import build
from triton_kit.errors import SpecError
from triton_kit.execute.cores import own_cores
from triton_kit.project.load import load_project
from triton_kit.tuning.at_once import TrialsAtOnce
from triton_kit.tuning.parallel_trials import trials_at_once
from triton_kit.tuning.set_up import set_up
from triton_kit.tuning.spec import TuneSpec
from triton_kit.tuning.trials import Wanted

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(len(own_cores()) < 2, reason="needs two cores"),
]


def spec(naps, **changes):
    fixed = {"parallel": 2, "cores_per_trial": 1, "executor": "ray"}
    return TuneSpec(
        model="nap",
        repository=naps / "model_repository",
        at_once=TrialsAtOnce(**(fixed | changes)),
        output=naps / "out",
    )


def measured(trials, count, *, alone=False, effort=1.0):
    settings = {"instances": 1, "concurrency": 1}
    wanted = [Wanted(settings=settings, effort=effort)] * count
    found = {}
    trials.measure(wanted, found.__setitem__, alone=alone)
    return [found[index] for index in range(count)]


def places_of(trials):
    assert not any(trial.failure for trial in trials)
    return {trial.where.process: trial.where.cores for trial in trials}


def family_of(pid):
    """Return a process and all that it started; psutil tells a reused id apart."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def all_gone(processes):
    return not psutil.wait_procs(processes, timeout=WITHIN_S)[1]


def test_a_search_on_two_nodes_and_what_a_killed_actor_costs(driver, naps):
    with trials_at_once(spec(naps)) as trials:
        first = measured(trials, 2)
        places = {trial.where.process: trial.where for trial in first}
        families = {pid: family_of(pid) for pid in places}

        assert not any(trial.failure for trial in first)
        assert len({place.node for place in places.values()}) == 2
        cores = [place.cores for place in places.values()]
        assert {len(each) for each in cores} == {1}
        assert len({*cores}) == 2

        # The actor's end is the end of the process that it started, and its server.
        [victim, _] = places
        os.kill(psutil.Process(victim).ppid(), signal.SIGKILL)
        assert all_gone(families[victim])
        dead = measured(trials, 2)
        assert [bool(trial.failure) for trial in dead].count(True) == 1
        assert any("killed or crashed" in trial.failure for trial in dead)
        # The other process goes on until there is a new one.
        after = {}
        eventually(
            lambda: after.update(places_of(measured(trials, 2))) or len(after) > 1
        )
        assert victim not in after
        assert sorted(after.values()) == sorted(cores)
        families = {pid: family_of(pid) for pid in after}

        # The last rounds run alone: the other server has ended before they begin.
        [last] = measured(trials, 1, alone=True)
        [other] = after.keys() - {last.where.process}
        assert not any(process.is_running() for process in families[other])
    assert all_gone(families[last.where.process])


def test_a_lost_node_costs_its_trial_and_a_new_node_takes_its_place(
    driver, cluster, add_node, naps
):
    node = add_node()
    number = node.node_id[:6]
    with trials_at_once(spec(naps, parallel=3, share_cores=True)) as trials:
        first = measured(trials, 3)
        assert len(places_of(first)) == 3
        [victim] = [t.where.process for t in first if number in t.where.node]
        family = family_of(victim)

        threading.Timer(0.5, lose, (cluster, node)).start()
        # Long enough to be there when the node goes.
        ends = measured(trials, 3, effort=10.0)
        [dead] = [trial for trial in ends if trial.failure]
        assert dead.where.process == victim
        assert number in dead.failure
        assert "died" in dead.failure
        assert all_gone(family)

        # The other nodes go on until there is a new one.
        assert len(places_of(measured(trials, 3))) == 2
        add_node()
        after = {}
        eventually(
            lambda: after.update(places_of(measured(trials, 3))) or len(after) == 3
        )
        assert victim not in after


def test_the_command_searches_and_a_dead_driver_leaves_no_server(cluster, naps, kit):
    output = naps / "out"
    words = ["tune", "nap", naps, "--executor", "ray", "--cores-per-trial", 1]
    words += ["--space", "instances=1,2", "--space", "concurrency=8"]
    words += ["--budget", "trials=20", "-o", output]
    path = output / "trials.jsonl"
    with subprocess.Popen(
        [sys.executable, "-m", "triton_kit", *map(str, words)],
        stderr=subprocess.DEVNULL,
    ) as process:
        eventually(lambda: path.is_file() and path.read_bytes().count(b"\n") > 2)
        families = []
        eventually(lambda: families.extend(serving_family(path)) or families)
        process.send_signal(signal.SIGKILL)
    finished = path.read_bytes().rpartition(b"\n")[0]
    assert all_gone(families)

    result = kit(*words, "--resume", "--json")
    assert result.exit_code == 0, result.output
    assert path.read_bytes().startswith(finished + b"\n")
    found = json.loads(result.stdout)
    assert {len(trial["where"]["cores"]) for trial in found["trials"]} == {1}
    assert all(trial["where"]["node"] for trial in found["trials"])
    assert found["inputs"]["at once"]["executor"] == "ray"


def serving_family(path):
    """Return the process of the last trial and its server; nothing once they ended."""
    [*_, line, _] = path.read_bytes().split(b"\n")
    try:
        family = family_of(json.loads(line)["trial"]["where"]["process"])
        is_serving = "tritonserver" in [member.name() for member in family]
    except psutil.NoSuchProcess:
        return []
    return family if is_serving else []


def test_nodes_convert_for_their_trials(driver, nets):
    build(load_project(nets, target="cpu"), only=["first"])
    on_nodes = TuneSpec(
        model="first",
        project=nets,
        target="cpu",
        repository=nets / "model_repository",
        space=("precision=fp32,fp16", "concurrency=1"),
        at_once=TrialsAtOnce(parallel=2, cores_per_trial=1, executor="ray"),
        output=nets / "out",
    )
    wanted = [
        Wanted(settings={"precision": precision, "concurrency": 1}, effort=1.0)
        for precision in ("fp32", "fp16")
    ]
    found = {}
    with set_up(on_nodes, None) as ready:
        ready.trials.measure(wanted, found.__setitem__)

    assert not any(trial.failure for trial in found.values())
    assert len({trial.where.node for trial in found.values()}) == 2
    assert found[1].figures["snr_db"] > 40
    with (
        pytest.raises(SpecError, match="the winner's plan is built here"),
        set_up(replace(on_nodes, target="gpu"), None),
    ):
        pass


def test_more_trials_than_the_cluster_has_room_for_are_refused(driver, naps):
    with (
        pytest.raises(SpecError, match=r"3 asked for, with 1 CPU each; .* room for 2"),
        trials_at_once(spec(naps, parallel=3)),
    ):
        pass


@pytest.fixture
def gpu_nodes(cluster):
    """Add nodes, each with one CPU and two GPUs of the names that are given."""
    added = []

    def add(*names):
        for pair in names:
            added.append(
                cluster.add_node(
                    num_cpus=1,
                    num_gpus=2,
                    object_store_memory=STORE_BYTES,
                    env_vars={"CUDA_VISIBLE_DEVICES": pair},
                )
            )

    yield add
    for node in added:
        cluster.remove_node(node)


def on_gpus(naps, **changes):
    return spec(naps, **({"parallel": None, "gpus_per_trial": 1} | changes))


def test_each_trial_on_a_node_has_its_own_gpus_and_so_have_the_last_rounds(
    gpu_nodes, driver, naps
):
    gpu_nodes("GPU-aa,GPU-bb", "GPU-cc,GPU-dd")
    with trials_at_once(on_gpus(naps)) as trials:
        assert trials.at_once == 2
        good = measured(trials, 2)
        seen = {trial.where.process: visible_to(trial) for trial in good}
        [last] = measured(trials, 1, alone=True)

    assert not any(trial.failure for trial in good)
    gpus = {trial.where.process: trial.where.gpus for trial in good}
    assert {len(names) for names in gpus.values()} == {1}
    assert len({*gpus.values()}) == 2
    assert {name[:4] for [name] in gpus.values()} == {"GPU-"}
    assert seen == {pid: set(names) for pid, names in gpus.items()}
    assert last.where.gpus == gpus[last.where.process]
    for count, match in ((1, "room for 2"), (3, "room for 0")):
        wanted = on_gpus(naps, parallel=3, gpus_per_trial=count)
        with (
            pytest.raises(
                SpecError, match=rf"3 asked for, .* {count} GPU each; .* {match}"
            ),
            trials_at_once(wanted),
        ):
            pass


def visible_to(trial):
    """Return what the process of a trial and all that it started see, as one set."""
    family = family_of(trial.where.process)
    return {process.environ()["CUDA_VISIBLE_DEVICES"] for process in family}


def test_nodes_of_one_machine_that_count_the_same_gpu_are_refused(
    gpu_nodes, driver, naps
):
    gpu_nodes("GPU-aa,GPU-bb", "GPU-aa,GPU-bb")
    with (
        pytest.raises(SpecError, match="one machine, and each counts GPU GPU-aa"),
        trials_at_once(on_gpus(naps, gpus_per_trial=2)),
    ):
        pass


def test_a_cluster_without_gpus_has_no_room_for_trials_with_them(driver, naps):
    with (
        pytest.raises(
            SpecError, match=r"1 asked for, with 1 CPU and 1 GPU each; .* room for 0"
        ),
        trials_at_once(on_gpus(naps)),
    ):
        pass


def test_the_plan_needs_one_process(driver, naps, kit):
    words = ["tune", "nap", naps, "--executor", "ray", "--plan"]
    result = kit(*words, "--space", "instances=1,2", "-o", naps / "out")

    assert result.exit_code == 0, result.output
    assert "2 at once" in result.output
