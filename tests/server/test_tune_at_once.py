"""Trials at once: each on a server and cores of its own, and nothing stays behind."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from triton_kit.build_project import build
from triton_kit.execute.cores import own_cores
from triton_kit.project.load import load_project
from triton_kit.tuning.at_once import TrialsAtOnce
from triton_kit.tuning.parallel_trials import trials_at_once
from triton_kit.tuning.server import kit_server
from triton_kit.tuning.set_up import set_up
from triton_kit.tuning.spec import TuneSpec
from triton_kit.tuning.trials import Wanted

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(len(own_cores()) < 2, reason="needs two cores"),
]

WITHIN_S = 120
AT_ONCE = ("--parallel", 2, "--cores-per-trial", 1)
# It ends the server, its parent, as it is loaded with one of the settings.
DEADLY = """
import json
import os
import signal

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        if parameters.get("mode", {}).get("string_value") == "deadly":
            os.kill(os.getppid(), signal.SIGKILL)
            os._exit(1)  # it has the server's sockets

    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("y", request.inputs()[0].as_numpy())]
            )
            for request in requests
        ]
"""


def test_a_killed_search_leaves_no_server_and_goes_on_where_it_ended(
    kit, naps, tmp_path
):
    output = tmp_path / "out"
    words = ["tune", "nap", naps, "--space", "instances=1,2", *AT_ONCE]
    words += ["--space", "concurrency=8", "--budget", "trials=20", "-o", output]
    words = [str(word) for word in words]
    path = output / "trials.jsonl"
    with subprocess.Popen(
        [sys.executable, "-m", "triton_kit", *words], stderr=subprocess.DEVNULL
    ) as process:
        wait_for(lambda: path.is_file() and path.read_bytes().count(b"\n") > 2)
        family = psutil.Process(process.pid).children(recursive=True)
        names = [child.name() for child in family]
        process.send_signal(signal.SIGKILL)
    finished = path.read_bytes().rpartition(b"\n")[0]
    _, left = psutil.wait_procs(family, timeout=WITHIN_S)

    assert names.count("tritonserver") == 2
    assert not left
    result = kit(*words, "--resume", "--json")
    assert result.exit_code == 0, result.output
    assert path.read_bytes().startswith(finished + b"\n")
    found = json.loads(result.stdout)
    assert path.read_bytes().count(b"\n") == 1 + len(found["trials"])
    assert found["environment"]["cpus"] == 1
    places = [trial["where"] for trial in found["trials"]]
    assert {len(place["cores"]) for place in places} == {1}
    last = [t["where"] for t in found["trials"] if t["stage"] in ("final", "confirm")]
    assert len({place["process"] for place in last}) == 1


def wait_for(condition):
    deadline_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


@pytest.fixture
def echo(tmp_path, write_model):
    """A search over a model that can end its server."""
    config = (
        'backend: "python" max_batch_size: 8 '
        'input { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } '
        'output { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } '
        "instance_group { count: 1 kind: KIND_CPU }"
    )
    repository = tmp_path / "models"
    write_model(repository, "echo", {"1/model.py": DEADLY}, config=config)
    return TuneSpec(
        model="echo",
        repository=repository,
        at_once=TrialsAtOnce(parallel=2, cores_per_trial=1),
        output=tmp_path / "out",
    )


def measured(trials, *modes, alone=False):
    wanted = [
        Wanted(settings={"parameters.mode": mode, "concurrency": 1}, effort=1.0)
        for mode in modes
    ]
    found = {}
    trials.measure(wanted, found.__setitem__, alone=alone)
    return [found[index] for index in range(len(modes))]


def test_each_trial_has_cores_alone_and_what_dies_costs_its_trial(echo):
    with trials_at_once(echo) as trials:
        good = measured(trials, "calm", "calm")
        by_process = {trial.where.process: trial.where.cores for trial in good}
        servers = servers_of(by_process)
        used = [os.sched_getaffinity(server.pid) for server in servers]

        assert not any(trial.failure for trial in good)
        assert len(by_process) == 2
        assert sorted(map(tuple, used)) == sorted(by_process.values())
        assert set.isdisjoint(*used)

        # A server dies.
        deadly, calm = measured(trials, "deadly", "calm")
        assert deadly.failure
        assert not calm.failure
        assert {deadly.where.process, calm.where.process} == {*by_process}

        # A process that holds a server dies, and its server with it.
        [victim, *_] = by_process
        its_servers = servers_of([victim])
        os.kill(victim, signal.SIGKILL)
        assert not psutil.wait_procs(its_servers, timeout=WITHIN_S)[1]
        dead = measured(trials, "calm", "calm")
        assert [bool(t.failure) for t in dead].count(True) == 1
        assert any("killed by SIGKILL" in trial.failure for trial in dead)
        again = measured(trials, "calm", "calm")
        assert not any(trial.failure for trial in again)
        after = {trial.where.process: trial.where.cores for trial in again}
        assert victim not in after
        assert sorted(after.values()) == sorted(by_process.values())

        # The last rounds have the machine for themselves.
        last = measured(trials, "calm", "calm", alone=True)
        assert len({trial.where.process for trial in last}) == 1
        assert len(servers_of([psutil.Process().pid])) == 1
    assert not servers_of([psutil.Process().pid])


def servers_of(pids):
    """Return the servers of trials that processes of this test have started."""
    children = [
        child for pid in pids for child in psutil.Process(pid).children(recursive=True)
    ]
    return [child for child in children if is_trial_server(child)]


def is_trial_server(process):
    try:
        line = process.cmdline()
    except psutil.Error:  # it is gone, or a zombie
        return False
    return "tritonserver" in str(line[:1]) and "triton-kit-tune" in str(line)


def test_each_server_sees_a_gpu_of_its_own_alone(echo, monkeypatch):
    names = {("GPU-11aa",), ("GPU-22bb",)}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-11aa,GPU-22bb,-1,GPU-33cc")
    at_once = TrialsAtOnce(cores_per_trial=1, gpus_per_trial=1)
    with trials_at_once(replace(echo, at_once=at_once)) as trials:
        assert trials.at_once == 2
        good = measured(trials, "calm", "calm")
        seen = [
            server.environ()["CUDA_VISIBLE_DEVICES"]
            for server in servers_of(trial.where.process for trial in good)
        ]
        deadly, calm = measured(trials, "deadly", "calm")
        [last] = measured(trials, "calm", alone=True)

    assert {trial.where.gpus for trial in good} == names
    assert {(name,) for name in seen} == names
    assert deadly.failure
    assert {deadly.where.gpus, calm.where.gpus} == names
    assert last.where.gpus in names


def test_without_gpus_of_their_own_trials_name_none(echo, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-11aa,GPU-22bb")
    with trials_at_once(echo) as trials:
        good = measured(trials, "calm", "calm")

    assert {trial.where.gpus for trial in good} == {()}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--gpus-per-trial", 3), "--gpus-per-trial 2 at most"),
        (("--gpus-per-trial", 1, "--parallel", 3), "this machine has 2 for them"),
        (("--gpus-per-trial", 1, "-u", "127.0.0.1:1"), "leave out --parallel"),
        (("--gpus-per-trial", -1), "-1 is not in the range"),
    ],
)
def test_too_few_gpus_are_an_error_in_words(
    kit, naps, tmp_path, monkeypatch, words, text
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    result = kit("tune", "nap", naps, "-o", tmp_path / "out", *words)

    assert result.exit_code == 2, result.output
    assert text in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()


def test_a_model_that_names_a_gpu_beyond_those_of_a_trial_is_refused(
    kit, naps, tmp_path, monkeypatch
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    config = naps / "model_repository" / "nap" / "config.pbtxt"
    on_second = "kind: KIND_GPU gpus: [ 1 ]"
    config.write_text(config.read_text().replace("kind: KIND_CPU", on_second))
    words = ("tune", "nap", naps, "-o", tmp_path / "out", "--gpus-per-trial", 1)
    result = kit(*words)

    assert result.exit_code == 2, result.output
    assert "model 'nap': an instance group names GPU 1" in result.output
    assert "--gpus-per-trial 2" in result.output


def test_onnx_runtime_gets_a_thread_for_each_core_of_the_trial(small_repository):
    with kit_server(small_repository, "affine") as server:
        server.cores = 1
        server.apply({"max_batch_size": 8})
        chosen = server.control.config("affine").as_json["parameters"]
        server.apply({"max_batch_size": 8, "threads": 2})
        asked = server.control.config("affine").as_json["parameters"]

    assert chosen["intra_op_thread_count"] == {"string_value": "1"}
    assert asked["intra_op_thread_count"] == {"string_value": "2"}


def test_each_process_converts_for_its_own_trials(digits, tmp_path):
    build(load_project(digits), only=["digits"])
    spec = TuneSpec(
        model="digits",
        project=digits,
        repository=digits / "model_repository",
        space=("precision=fp32,fp16,int8", "concurrency=1"),
        floors={"min_snr_db": 60.0},
        at_once=TrialsAtOnce(parallel=2, cores_per_trial=1),
        output=tmp_path / "out",
    )
    wanted = [
        Wanted(settings={"precision": precision, "concurrency": 1}, effort=1.0)
        for precision in ("fp32", "fp16", "int8", "fp16")
    ]
    found = {}
    with set_up(spec, None) as ready:
        ready.trials.measure(wanted, found.__setitem__)

    fp32, fp16, int8, again = (found[index] for index in range(4))
    assert len({trial.where.process for trial in found.values()}) == 2
    assert not any(trial.failure for trial in (fp32, fp16, again))
    assert "snr_db" not in fp32.figures
    assert fp16.figures["snr_db"] == again.figures["snr_db"] > 60
    assert int8.refused == {"precision": "int8"}
    assert "needs calibration samples" in int8.failure


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("-u", "127.0.0.1:1", "--parallel", 2), "127.0.0.1:1 is one server"),
        (("-u", "127.0.0.1:1", "--executor", "ray"), "leave out --parallel"),
        (("--server", "docker", "--cores-per-trial", 1), "the container is one"),
        (("--parallel", 2, "--space", "precision=fp16"), "does not convert 'nap'"),
        (("--parallel", 9999), "--share-cores"),
        (("--cores-per-trial", 9999), "at most"),
        (("--parallel", 2, "--executor", "raay"), "unknown executor 'raay'"),
    ],
)
def test_bad_input_is_an_error_in_words(kit, naps, tmp_path, words, text):
    output = tmp_path / "out"
    result = kit("tune", "nap", naps, "-o", output, *words)

    assert result.exit_code == 2, result.output
    assert text in result.output
    assert "Traceback" not in result.output
    assert not output.exists()


def test_the_plan_says_how_many_at_once(kit, naps, tmp_path):
    words = ("tune", "nap", naps, "-o", tmp_path / "out", "--plan", *AT_ONCE)
    result = kit(*words, "--budget", "trials=40")

    assert result.exit_code == 0, result.output
    assert "2 at once" in result.output
    assert not (tmp_path / "out").exists()
