"""The scheduling policy is the client's for a load, and its own again afterwards."""

import os

import pytest

from triton_kit.perf.engine.scheduling import without_preempting


def test_the_policy_is_back_after_the_load():
    before = os.sched_getscheduler(0)

    with without_preempting():
        assert os.sched_getscheduler(0) == os.SCHED_BATCH

    assert os.sched_getscheduler(0) == before


def test_the_policy_is_back_after_an_interruption():
    before = os.sched_getscheduler(0)

    with pytest.raises(KeyboardInterrupt), without_preempting():
        raise KeyboardInterrupt

    assert os.sched_getscheduler(0) == before
