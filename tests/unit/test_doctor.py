"""`triton-kit doctor`: what is here, and what it makes possible."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from triton_kit.doctor import Gpu, Machine, abilities, examine

BARE = Machine(
    python="3.12.0",
    system="Linux x86_64",
    packages={"onnxruntime-gpu": None, "tensorrt": None, "tensorrt_rtx": None},
    gpus=(),
    docker=None,
    server_problem="pip install 'triton_kit[embedded]'",
)


def named(found, word):
    (ability,) = (a for a in found if word in a.name)
    return ability


def test_this_machine_can_build_and_serve():
    found = abilities(examine())

    assert named(found, "on the CPU").works
    assert examine().packages["nvidia-pytriton"] == "0.7.0"


def test_a_bare_machine_lists_what_to_install():
    serve = named(abilities(BARE), "on the CPU")

    assert not serve.works
    assert "triton_kit[embedded]" in serve.advice


GPU = Gpu(name="H200", compute_capability="9.0", memory="1 MiB", driver="580")


def test_gpu_models_need_the_server_a_gpu_and_onnxruntime_gpu():
    complete = replace(
        BARE,
        packages=BARE.packages | {"onnxruntime-gpu": "1.31.1"},
        gpus=(GPU,),
        server_problem="",
    )

    assert named(abilities(complete), "ONNX models on the GPU").works
    for missing, advice in (
        ({"packages": BARE.packages}, "pip install onnxruntime-gpu"),
        ({"gpus": ()}, "an NVIDIA GPU"),
        ({"server_problem": "no server"}, "no server"),
    ):
        ability = named(
            abilities(replace(complete, **missing)), "ONNX models on the GPU"
        )
        assert not ability.works
        assert advice in ability.advice


def test_a_gpu_and_docker_make_containers_possible():
    machine = replace(BARE, gpus=(GPU,), docker="28.2.2")

    assert named(abilities(machine), "containers").works
    assert not named(abilities(BARE), "containers").works


@pytest.fixture
def example_repository():
    return Path(__file__).parents[2] / "model_repository"


@pytest.fixture
def numpy_2(tmp_path):
    """An environment in which NumPy 2 is the installed version."""
    facts = tmp_path / "site" / "numpy-2.5.2.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: numpy\nVersion: 2.5.2\n"
    )
    return os.environ | {"PYTHONPATH": str(facts.parent)}


def test_doctor_and_serve_give_the_same_advice_about_numpy_2(
    numpy_2, example_repository
):
    def run(*words):
        return subprocess.run(
            [sys.executable, "-m", "triton_kit", *words],
            env=numpy_2,
            capture_output=True,
            text=True,
            check=False,
        )

    doctor = json.loads(run("doctor", "--json").stdout)
    serve = run("serve", str(example_repository))

    (ability,) = (a for a in doctor["abilities"] if "on the CPU" in a["name"])
    message, _, hint = ability["advice"].rpartition(": ")
    assert not ability["works"]
    assert serve.returncode == 5
    assert f"Error: {message}\n  hint: {hint}\n" in serve.stderr
    assert doctor["packages"]["numpy"] == "2.5.2"


def test_json_and_text_say_the_same(kit):
    text = kit("doctor")
    facts = json.loads(kit("doctor", "--json").stdout)

    assert text.exit_code == 0
    assert facts["python"] in text.output
    for ability in facts["abilities"]:
        assert ability["name"] in text.output
