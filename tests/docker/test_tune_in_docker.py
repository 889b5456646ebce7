"""Tuning in a container: one that ends costs a trial, and nothing stays behind."""

import pytest
from docker_commands import docker, write_python_model

from triton_kit.serving.containers.launcher import ContainerOptions
from triton_kit.tuning.budget import parse_budget
from triton_kit.tuning.set_up import set_up
from triton_kit.tuning.spec import TuneSpec
from triton_kit.tuning.trials import Wanted
from triton_kit.tuning.tune import tune

pytestmark = pytest.mark.usefixtures("engine")

# It ends the server, its parent, as it is loaded with one of the settings.
MODEL = """import json
import os
import signal

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        if parameters.get("mode", {}).get("string_value") == "deadly":
            os.kill(os.getppid(), signal.SIGTERM)

    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("y", request.inputs()[0].as_numpy())]
            )
            for request in requests
        ]
"""


def test_a_container_that_ends_costs_a_trial_and_the_next_one_has_a_new_one(tmp_path):
    repository = write_python_model(tmp_path / "models", "echo", code=MODEL)
    spec = TuneSpec(
        model="echo",
        repository=repository,
        container=ContainerOptions(release="24.10"),
        space=("parameters.mode=deadly,calm", "concurrency=1"),
        shapes={"x": (4,)},
        output=tmp_path / "out",
    )
    wanted = [
        Wanted(settings={"parameters.mode": mode, "concurrency": 1}, effort=1.0)
        for mode in ("deadly", "calm")
    ]
    found = {}
    before = docker("ps", "--all", "--quiet").split()
    with set_up(spec, None) as ready:
        ready.trials.measure(wanted, found.__setitem__)
    deadly, calm = found[0], found[1]

    assert deadly.failure
    assert not calm.failure
    assert calm.figures["throughput"] > 0
    # Those of an earlier test may end in the meantime.
    assert set(docker("ps", "--all", "--quiet").split()) <= set(before)


@pytest.mark.long
@pytest.mark.parametrize("search", ["auto", "grid", "climb"])
def test_a_whole_search_in_a_container_ends_and_leaves_none(tmp_path, search):
    repository = write_python_model(tmp_path / "models", "echo", code=MODEL)
    phases = []
    spec = TuneSpec(
        model="echo",
        repository=repository,
        container=ContainerOptions(release="24.10"),
        space=("parameters.mode=deadly,calm,other", "instances=1,2", "concurrency=1,4"),
        budget=parse_budget("trials=20"),
        search=search,
        shapes={"x": (4,)},
        output=tmp_path / "out",
    )
    before = docker("ps", "--all", "--quiet").split()

    result = tune(spec, on_phase=lambda phase: phases.append(phase.name))

    stages = {ask.stage for ask, _ in result.trials}
    assert {"default", "final"} <= stages
    assert (phases[0], phases[-1]) in (("server", "final"), ("server", "confirm"))
    # Two in each last round at least, whatever was spent before.
    assert 4 <= len(result.trials) <= 20 + 2 * 5 + 2 * 2
    assert result.best["parameters.mode"] != "deadly"
    assert (tmp_path / "out" / "result.json").is_file()
    assert set(docker("ps", "--all", "--quiet").split()) <= set(before)
