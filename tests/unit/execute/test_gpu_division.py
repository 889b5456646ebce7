"""GPUs are divided into disjoint sets; too few of them are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triton_kit.errors import SpecError
from triton_kit.execute.gpus import divide_gpus, known_uuids, own_gpus, visible


@given(there=st.integers(0, 20), count=st.integers(1, 9), each=st.integers(1, 9))
def test_each_process_has_its_gpus_alone_or_the_division_is_refused(there, count, each):
    gpus = tuple(map(str, range(there)))
    if count * each > there:
        with pytest.raises(SpecError, match=f"this machine has {there} for them"):
            divide_gpus(gpus, count, each)
        return
    parts = divide_gpus(gpus, count, each)
    used = [gpu for part in parts for gpu in part]

    assert [len(part) for part in parts] == [each] * count
    assert used == list(gpus[: count * each])


@pytest.mark.parametrize(
    ("there", "count", "each", "hint"),
    [
        (4, 3, 2, "--parallel 2"),
        (4, 5, 1, "--parallel 4"),
        (4, 1, 9, "--gpus-per-trial 4 at most"),
        (0, 1, 1, "leave out --gpus-per-trial"),
    ],
)
def test_the_hint_says_what_fits(there, count, each, hint):
    with pytest.raises(SpecError) as caught:
        divide_gpus("0123"[:there], count, each)

    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("", ()),
        ("-1", ()),
        ("NoDevFiles", ()),
        ("2", ("2",)),
        ("1, 10,0", ("1", "10", "0")),
        ("0,1,-1,2", ("0", "1")),
        ("GPU-aa,GPU-ab", ("GPU-aa", "GPU-ab")),
        ("MIG-1,MIG-2", ("MIG-1", "MIG-2")),
    ],
)
def test_the_variable_names_the_gpus(monkeypatch, text, gpus):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", text)

    assert own_gpus() == gpus


@pytest.mark.parametrize(
    "text", ["0,1,0", "0,00", "GPU-aa,GPU-aa", "GPU-a,GPU-b,GPU-ab", "0,GPU-aa"]
)
def test_names_that_may_be_of_one_gpu_are_refused(text):
    with pytest.raises(SpecError, match="may name one GPU twice"):
        visible(text)


def test_the_error_names_the_variable_that_limits_the_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with pytest.raises(SpecError, match="in CUDA_VISIBLE_DEVICES='3'"):
        divide_gpus(own_gpus(), 2, 1)


def test_uuids_are_known_by_themselves():
    assert known_uuids(("GPU-aa", "MIG-b")) == ("GPU-aa", "MIG-b")
