"""Trials at once on a machine with several GPUs: each has one for itself."""

import pytest
from onnx_models import affine

from triton_kit.execute.cores import own_cores
from triton_kit.gpu import gpu_uuids
from triton_kit.loadtest.record.metrics import MetricsWatch
from triton_kit.tuning.at_once import TrialsAtOnce
from triton_kit.tuning.parallel_trials import trials_at_once
from triton_kit.tuning.server import kit_server
from triton_kit.tuning.spec import TuneSpec
from triton_kit.tuning.trials import Wanted

UUIDS = gpu_uuids()
pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(len(UUIDS) < 2, reason="needs two GPUs"),
    pytest.mark.skipif(len(own_cores()) < 2, reason="needs two cores"),
]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    folder = tmp_path / "models" / "affine"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(affine(shape=("batch", 4)))
    (folder / "config.pbtxt").write_text(
        'backend: "onnxruntime"\nmax_batch_size: 8\n'
        "instance_group { count: 1 kind: KIND_GPU }\n"
    )
    return folder.parent


def test_two_trials_at_once_run_on_a_gpu_each(repository, tmp_path):
    spec = TuneSpec(
        model="affine",
        repository=repository,
        at_once=TrialsAtOnce(parallel=2, gpus_per_trial=1),
        output=tmp_path / "out",
    )
    wanted = [
        Wanted(settings={"instances": n, "concurrency": 4}, effort=1.0) for n in (1, 2)
    ]
    found = {}
    with trials_at_once(spec) as trials:
        [group] = trials.subject.configs["affine"]["instance_group"]
        trials.measure(wanted, found.__setitem__)
        first, second = found[0], found[1]
        trials.measure(wanted[:1], found.__setitem__, alone=True)

    assert (group["kind"], group["gpus"]) == ("KIND_GPU", [0])
    assert not first.failure
    assert not second.failure
    assert {first.where.gpus, second.where.gpus} == {(uuid,) for uuid in UUIDS[:2]}
    assert first.where.process != second.where.process
    assert set.isdisjoint({*first.where.cores}, {*second.where.cores})
    assert found[0].where.gpus == UUIDS[:1]


@pytest.mark.parametrize("own", UUIDS[:2])
def test_the_metrics_of_a_server_have_the_gpu_alone_that_it_sees(
    repository, monkeypatch, own
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", own)
    with kit_server(repository, "affine") as server:
        values = MetricsWatch(server.metrics_address).scrape().values
    energy = [
        dict(labels) for name, labels in values if name == "nv_energy_consumption"
    ]

    assert energy == [{"gpu_uuid": own}]
