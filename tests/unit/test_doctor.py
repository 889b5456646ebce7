"""`triton-kit doctor`: what is here, and what it makes possible."""

import json

from triton_kit.doctor import Gpu, Machine, abilities, examine

BARE = Machine(
    python="3.12.0",
    system="Linux x86_64",
    packages={"nvidia-pytriton": None, "tensorrt": None},
    gpus=(),
    docker=None,
)


def named(found, word):
    (ability,) = (a for a in found if word in a.name)
    return ability


def test_this_machine_can_build_and_serve():
    found = abilities(examine())

    assert named(found, "real tritonserver").works
    assert examine().packages["nvidia-pytriton"] == "0.7.0"


def test_a_bare_machine_is_told_what_to_install():
    serve = named(abilities(BARE), "real tritonserver")

    assert not serve.works
    assert "triton_kit[embedded]" in serve.advice


def test_a_gpu_and_docker_make_gpu_serving_possible():
    gpu = Gpu(name="H200", compute_capability="9.0", memory="1 MiB", driver="580")
    machine = Machine(
        python="3.12.0",
        system="Linux x86_64",
        packages=BARE.packages,
        gpus=(gpu,),
        docker="28.2.2",
    )

    assert named(abilities(machine), "on the GPU").works


def test_json_and_text_say_the_same(kit):
    text = kit("doctor")
    facts = json.loads(kit("doctor", "--json").stdout)

    assert text.exit_code == 0
    assert facts["python"] in text.output
    for ability in facts["abilities"]:
        assert ability["name"] in text.output
