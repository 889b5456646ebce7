from pathlib import Path

import pytest

from triton_kit.build_many import SentModel
from triton_kit.built import Built
from triton_kit.errors import ConvertError, TransportError, VerifyError
from triton_kit.execute.local_tasks import local_executor
from triton_kit.execute.parcel import Delivery, Parcel, digest_of
from triton_kit.execute.tasks import Task
from triton_kit.triton.schema import ModelConfig

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def executor():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HERE))
        with local_executor(2, ["task_functions"]) as started:
            yield started


def task(function, argument=None):
    return Task(name=function, call=f"task_functions:{function}", argument=argument)


def test_each_task_has_one_outcome(executor):
    outcomes = list(executor.run([task("double", n) for n in range(7)]))

    assert sorted((o.index, o.value) for o in outcomes) == [
        (n, 2 * n) for n in range(7)
    ]


def test_a_task_whose_process_is_killed_is_repeated(executor, tmp_path):
    tasks = [task("die_once", tmp_path), task("double", 3)]
    outcomes = {o.index: o.value for o in executor.run(tasks)}

    assert outcomes == {0: 2, 1: 6}


def test_a_task_that_always_dies_ends_the_run_with_how(executor):
    with pytest.raises(ConvertError, match=r"die: .* died 3 times: killed by SIGKILL"):
        list(executor.run([task("die")]))


def test_errors_come_back_with_their_class_and_hint(executor):
    found = {o.index: o.error for o in executor.run([task("fail"), task("crash")])}

    assert type(found[0]) is VerifyError
    assert (found[0].message, found[0].hint) == ("wrong", "right")
    assert type(found[1]) is ConvertError


def test_a_model_that_does_not_arrive_whole_is_refused(tmp_path):
    whole, cut = digest_of(b"labels"), digest_of(b"model")
    sent = SentModel(
        built=Built(config=ModelConfig(name="m"), version_files={}, facts={}),
        version_files=Delivery(
            Parcel({"labels": whole, "model.onnx": cut}),
            {whole: b"labels", cut: b"mod"},
        ),
        files=Delivery(Parcel({}), {}),
    )

    with pytest.raises(TransportError, match=r"m: model\.onnx did not arrive whole"):
        sent.unpack("m", tmp_path)

    assert list(tmp_path.iterdir()) == []
