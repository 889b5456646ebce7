"""The file of trials: nothing is measured twice, and no other run's is taken."""

import json
from dataclasses import replace

import pytest

from triton_kit.errors import SpecError
from triton_kit.tuning.checkpoint import Checkpoint
from triton_kit.tuning.evidence import Ask
from triton_kit.tuning.limits import Bottleneck
from triton_kit.tuning.trial import TrialPlace, TuneTrial

INPUTS = {"model": "m", "space": ("a=1,2",)}
HEADER = {"inputs": INPUTS, "originals": {"m": {"name": "m"}}}
ASK = Ask(point=(1, (8, 16), None, "x"), stage="default")
TRIAL = TuneTrial(
    value=2.0,
    margins=(0.1,),
    figures={"throughput": 2.0},
    bottleneck=Bottleneck(kind="queue-bound", reason="it waits"),
    cold_batch_sizes=(3,),
    where=TrialPlace(node="n", process=7, cores=(0, 2), gpus=("1",)),
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "out" / "trials.jsonl"
    Checkpoint.begin(path, HEADER).add(ASK, TRIAL)
    return path


def test_a_trial_comes_back_as_it_was(path):
    earlier = Checkpoint.resume(path, INPUTS)

    assert earlier.originals == HEADER["originals"]
    assert earlier.take([ASK]) == [TRIAL]
    assert earlier.take([ASK]) == [None]


def test_a_line_that_a_killed_run_left_half_is_dropped(path):
    with path.open("a") as file:
        file.write('{"ask": {"poi')
    earlier = Checkpoint.resume(path, INPUTS)
    earlier.take([ASK])
    earlier.add(ASK, TRIAL)

    assert [json.loads(line) for line in path.read_text().splitlines()]
    assert Checkpoint.resume(path, INPUTS).earlier == 2


def test_a_new_run_does_not_overwrite_an_earlier_one(path):
    with pytest.raises(SpecError, match="trials of an earlier run") as error:
        Checkpoint.begin(path, HEADER)

    assert "--resume" in error.value.hint


def test_other_inputs_are_refused(path):
    with pytest.raises(SpecError, match="the earlier run had model 'm', not 'n'"):
        Checkpoint.resume(path, INPUTS | {"model": "n"})


def test_trials_at_once_come_back_in_any_order_and_those_that_miss_are_none(path):
    asks = [Ask(point=(n,), stage="sample") for n in range(4)]
    trials = [replace(TRIAL, value=float(n)) for n in range(4)]
    checkpoint = Checkpoint.resume(path, INPUTS)
    for number in (2, 0):
        checkpoint.add(asks[number], trials[number])
    earlier = Checkpoint.resume(path, INPUTS)
    earlier.take([ASK])

    assert earlier.take(asks) == [trials[0], None, trials[2], None]
    assert earlier.earlier == 0


def test_another_order_of_trials_is_refused(path):
    earlier = Checkpoint.resume(path, INPUTS)

    with pytest.raises(SpecError, match="tried other settings"):
        earlier.take([Ask(point=(2,), stage="default")])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"schema": "triton-kit.tune-trials/9"}\n', "has the schema"),
        ("no JSON\n", "is no file of trials"),
        ("[]\n", "is no file of trials"),
        ("", "is no file of trials"),
    ],
)
def test_another_file_is_refused(tmp_path, text, expected):
    path = tmp_path / "trials.jsonl"
    path.write_text(text)

    with pytest.raises(SpecError, match=expected):
        Checkpoint.resume(path, INPUTS)


def test_resume_without_an_earlier_run_is_refused(tmp_path):
    with pytest.raises(SpecError, match="no earlier run"):
        Checkpoint.resume(tmp_path / "trials.jsonl", INPUTS)
