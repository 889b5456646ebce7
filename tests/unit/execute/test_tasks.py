from pathlib import Path

import pytest

from triton_kit.build_many import SentModel
from triton_kit.built import Built
from triton_kit.errors import ConvertError, TransportError, VerifyError
from triton_kit.execute.local_tasks import local_executor
from triton_kit.execute.parcel import Delivery, Parcel, digest_of
from triton_kit.execute.tasks import Task, answer
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


def test_stages_arrive_in_their_order_after_the_start(executor, caplog):
    caplog.set_level("INFO", "triton_kit")
    found = {0: [], 1: []}
    tasks = [task("say", ["a", "b"]), task("say", ["c"])]

    def report(progress):
        assert progress.where.startswith("process ")
        found[progress.index].append(progress.stage)

    assert len(list(executor.run(tasks, report))) == 2
    assert found == {0: ["", "a", "b"], 1: ["", "c"]}


def test_without_a_log_of_information_only_starts_are_reported(executor):
    found = []

    assert len(list(executor.run([task("say", ["a"])], found.append))) == 1
    assert [progress.stage for progress in found] == [""]


def test_an_error_of_a_report_is_none_of_the_task():
    def report(_):
        raise OSError

    assert answer("task_functions:double", 2, 1, report) == (4, None)
    assert answer("task_functions:say", ["a"], 1, report) == (None, None)


def test_a_task_that_is_repeated_is_reported(executor, tmp_path, caplog):
    list(executor.run([task("die_once", tmp_path)]))

    [record] = caplog.records
    assert record.getMessage() == (
        "die_once: its process died (killed by SIGKILL), trying again (2 of 3)"
    )


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
