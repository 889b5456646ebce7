"""Cores are divided into disjoint sets; too few of them are refused."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triton_kit.errors import SpecError
from triton_kit.execute.cores import divide, own_cores, pick


@given(
    cores=st.lists(st.integers(0, 300), min_size=1, max_size=64, unique=True),
    count=st.integers(1, 70),
    each=st.one_of(st.none(), st.integers(1, 70)),
)
def test_each_process_has_its_cores_alone_or_the_division_is_refused(
    cores, count, each
):
    size = each or max(1, len(cores) // count)
    if size * count > len(cores):
        with pytest.raises(SpecError, match=f"has {len(cores)} for them"):
            divide(cores, count, each)
        return
    parts = divide(cores, count, each)
    used = [core for part in parts for core in part]

    assert [len(part) for part in parts] == [size] * count
    assert len(set(used)) == len(used)
    assert set(used) <= set(cores)


def test_shared_cores_are_used_alike():
    parts = divide([4, 5, 6], 4, 2, may_share=True)

    assert parts == [(4, 5), (4, 6), (5, 6), (4, 5)]


def test_cores_are_not_shared_where_there_are_enough():
    assert divide([0, 1, 2, 3], 2, may_share=True) == [(0, 1), (2, 3)]


@pytest.mark.parametrize(
    ("count", "each", "hint"),
    [(3, 2, "--parallel 2"), (5, None, "--parallel 4"), (1, 9, "--cores-per-trial 4")],
)
def test_the_hint_says_what_fits(count, each, hint):
    with pytest.raises(SpecError) as caught:
        divide([0, 1, 2, 3], count, each)

    assert hint in caught.value.hint


def test_more_cores_than_there_are_cannot_be_shared():
    with pytest.raises(SpecError, match="9 cores each"):
        divide([0, 1, 2, 3], 2, 9, may_share=True)


@given(
    cores=st.lists(st.integers(0, 99), min_size=1, max_size=20, unique=True),
    each=st.integers(1, 6),
    may_share=st.booleans(),
)
def test_one_process_after_another_gets_cores_until_there_are_none(
    cores, each, may_share
):
    given = []
    for _ in range(len(cores) // each):
        given.append(pick(cores, each, given, may_share=may_share))
    used = [core for part in given for core in part]

    assert {len(part) for part in given} <= {each}
    assert len(set(used)) == len(used)
    if may_share and each <= len(cores):
        assert set(pick(cores, each, given, may_share=True)) <= set(cores)
    else:
        with pytest.raises(SpecError, match=f"its machine has {len(cores)} for them"):
            pick(cores, each, given)


def test_own_cores_are_those_of_the_affinity():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert own_cores() == (min(before),)
    finally:
        os.sched_setaffinity(0, before)
    assert set(own_cores()) == before
