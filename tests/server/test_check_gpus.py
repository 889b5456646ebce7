"""With a GPU the verdict is the server's too, for every kind of instance.

Needs nvidia-smi and a GPU; skipped elsewhere. Nothing of the models runs: the backends
do nothing.
"""

import shutil
import subprocess

import pytest
from real_core import BACKENDS, RealCore, build_backends

from triton_kit import check_repository

pytestmark = pytest.mark.server

HEAD = (
    'backend: "identity"\nmax_batch_size: 4\n'
    'input [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } ]\n'
    'output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]\n'
)
GROUPS = [
    "",
    "instance_group [ { } ]",
    "instance_group [ { count: 2 } ]",
    "instance_group [ { count: -1 } ]",
    "instance_group [ { kind: KIND_GPU } ]",
    "instance_group [ { kind: KIND_GPU gpus: [ 0 ] } ]",
    "instance_group [ { kind: KIND_GPU gpus: [ 7 ] } ]",
    "instance_group [ { kind: KIND_GPU gpus: [ 0, 7 ] } ]",
    "instance_group [ { kind: KIND_GPU gpus: [ -1 ] } ]",
    "instance_group [ { kind: KIND_GPU count: 0 gpus: [ 0, 0 ] } ]",
    "instance_group [ { kind: KIND_AUTO gpus: [ 0 ] } ]",
    "instance_group [ { kind: KIND_AUTO gpus: [ 5 ] } ]",
    "instance_group [ { gpus: [ 0, 5 ] } ]",
    "instance_group [ { kind: KIND_CPU } ]",
    "instance_group [ { kind: KIND_CPU gpus: [ 0 ] } ]",
    "instance_group [ { kind: KIND_MODEL } ]",
    "instance_group [ { kind: KIND_MODEL gpus: [ 0 ] } ]",
    "instance_group [ { kind: KIND_CPU }, { kind: KIND_GPU }, { } ]",
    "instance_group [ { kind: KIND_GPU profile: [ '0' ] } ]",
    "instance_group [ { kind: KIND_GPU secondary_devices [ { device_id: 0 } ] } ]",
]


def gpu_count():
    if not shutil.which("nvidia-smi"):
        return 0
    done = subprocess.run(
        ["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False
    )
    return len(done.stdout.splitlines()) if done.returncode == 0 else 0


@pytest.fixture(scope="module")
def gpus():
    count = gpu_count()
    if not count:
        pytest.skip("needs a GPU: nvidia-smi lists none")
    return count


@pytest.fixture(scope="module")
def gpu_core(gpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("core")
    with RealCore(folder / "judge", build_backends(folder / "no_op")) as core:
        yield core


@pytest.mark.parametrize("backend", ["identity", "tensorrt", "onnxruntime"])
@pytest.mark.parametrize("group", GROUPS)
def test_verdict_and_reason_are_the_servers(gpu_core, gpus, group, backend):
    config = HEAD.replace("identity", backend) + group
    files = {"m/config.pbtxt": config, "m/1": None}

    verdict = gpu_core.judge(files, "m")
    report = check_repository(gpu_core.repository, gpus=gpus, backends=BACKENDS)

    reason = report.reason("m")
    assert (reason is None) == verdict.accepted, verdict.text
    if reason is not None:
        assert reason.server_text in verdict.reason
