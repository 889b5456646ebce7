"""Deployments that cannot be: one line, a hint, nothing written."""

import re

import pytest

import triton_kit as tk
from deployment_builders import cpu_repository, gpu_repository
from triton_kit.errors import RepositoryError, SpecError

ON_CPU = 'backend: "python"\ninstance_group { kind: KIND_CPU }'
PLAN = 'backend: "tensorrt"\nmax_batch_size: 8\n'


@pytest.fixture
def refusal(tmp_path):
    """Deploy something that cannot be; return the message with the hint."""

    def run(server, error=SpecError, to="kubernetes", **fields):
        with pytest.raises(error) as caught:
            tk.deploy(tk.DeploySpec(server=server, **fields), to, tmp_path / "out")
        assert "\n" not in caught.value.message
        assert caught.value.hint or error is RepositoryError
        assert not (tmp_path / "out").exists()
        return str(caught.value)

    return run


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"release": "26.66"}, "unknown Triton release '26.66'"),
        ({"gpus": 1}, "--gpus 1: no model of .* runs on a GPU"),
        ({"mig": "1g.10gb"}, "--mig 1g.10gb: no model"),
        ({"mig": "small"}, "'small' is no MIG profile"),
        ({"gpus": 1, "mig": "1g.10gb"}, "1 GPUs and a MIG slice"),
        ({"name": "My Server"}, "name 'My Server'"),
        ({"replicas": 5, "max_replicas": 2}, "5 to 2 replicas"),
        ({"image": "registry.local/m"}, "it has no fixed tag"),
        ({"triton_image": "registry.local:5000/t:latest"}, "it has no fixed tag"),
        ({"image": "a:1 -v /:/host"}, "is no name of an image"),
        ({"image": "m:1", "claim": "c"}, "in the image m:1 and in the claim c"),
        ({"memory": "much"}, "'much' is no quantity"),
        ({"memory": "0"}, "'0' is no quantity"),
        ({"cpus": "0m"}, "'0m' is no quantity"),
        ({"queue_target_ms": 0}, "queue_target_ms"),
        ({"drain_s": 0}, "drain_s is 0"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_deployment_that_cannot_be(refusal, tmp_path, fields, words):
    server = tk.ServeSpec(repository=cpu_repository(tmp_path / "models"))

    assert re.search(words, refusal(server, **fields))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"http_port": 80}, "http_port is '80', which has no effect in Kubernetes"),
        ({"access": tk.Access(address="0.0.0.0")}, "address is '0.0.0.0'"),
        ({"allocator": "tcmalloc"}, "no effect in a container"),
        (
            {"access": tk.Access(client_shared_memory=True)},
            "clients of a deployment are in other containers",
        ),
        ({"model_control": "poll"}, "a copy of the repository that never changes"),
        ({"flags": ("--model-config-name=x",)}, "came in 24.05"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_setting_of_the_server_without_effect(refusal, tmp_path, fields, words):
    repository = gpu_repository(tmp_path / "models", "m", ON_CPU)
    server = tk.ServeSpec(repository=repository, **fields)

    assert words in refusal(server, release="24.04")


def test_a_repository_that_is_missing_or_empty(refusal, tmp_path):
    (tmp_path / "empty").mkdir()

    for name in ("missing", "empty"):
        server = tk.ServeSpec(repository=tmp_path / name)
        assert name in refusal(server, RepositoryError)


def test_a_model_that_the_server_would_refuse(refusal, tmp_path):
    repository = gpu_repository(tmp_path / "models", "m")

    text = refusal(tk.ServeSpec(repository=repository), RepositoryError)

    assert "Triton 26.06 would refuse m: " in text
    assert "KIND_GPU but no GPUs are available" in text
    assert f"triton-kit validate {repository} --release 26.06 --gpus 0" in text


def test_a_plan_for_another_tensorrt(refusal, tmp_path):
    version = tmp_path / "models" / "m" / "1"
    version.mkdir(parents=True)
    header = b"ftrt" + bytes(20) + bytes((10, 5, 0, 18)) + bytes(64)
    (version / "model.plan").write_bytes(header)
    (version.parent / "config.pbtxt").write_text(PLAN)
    server = tk.ServeSpec(repository=tmp_path / "models")

    text = refusal(server, RepositoryError, release="25.10", gpus=1)
    features = tk.Features(backend_configs=("tensorrt,version-compatible=true",))
    compatible = tk.ServeSpec(repository=tmp_path / "models", features=features)
    spec = tk.DeploySpec(server=compatible, release="25.10", gpus=1)

    assert "built by TensorRT 10.5.0" in text
    assert tk.deploy(spec, "kubernetes", tmp_path / "out").models == ("m",)


def test_an_unknown_target_gets_the_nearest(refusal, tmp_path):
    server = tk.ServeSpec(repository=cpu_repository(tmp_path / "models"))

    assert "did you mean 'kubernetes'" in refusal(server, to="kubernets")


def test_the_command_refuses_in_one_line(kit, tmp_path):
    repository = cpu_repository(tmp_path / "models")

    result = kit(
        *("deploy", repository, "--to", "kubernetes", "-o", tmp_path / "out"),
        "--flag=--log-verbos=1",
    )

    assert result.exit_code == 2
    assert "--log-verbos: no release" in result.stderr
    assert "did you mean '--log-verbose'" in result.stderr
    assert not (tmp_path / "out").exists()
