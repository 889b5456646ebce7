"""The scheduling policy is the client's for a load, and its own again afterwards."""

import multiprocessing
import os
import resource
from contextlib import suppress
from pathlib import Path

import pytest

from triton_kit.errors import SpecError
from triton_kit.loadtest.net.scheduling import at_real_time, without_preempting

NOBODY = 65534
CONTROL_GROUPS = Path("/sys/fs/cgroup/cpu")


def unmarked_policy():
    return os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK


@pytest.fixture
def policy_within():
    """Return the policy within `context`, in a process that `prepare` was called in."""

    def policy(context, prepare=lambda: None):
        processes = multiprocessing.get_context("fork")
        ours, theirs = processes.Pipe()

        def tell():
            prepare()
            before = unmarked_policy()
            try:
                with context():
                    within = os.sched_getscheduler(0)
                theirs.send((within, unmarked_policy() == before))
            except SpecError as error:
                theirs.send((error, None))

        child = processes.Process(target=tell)
        child.start()
        theirs.close()
        within, is_back = ours.recv()
        child.join()
        if isinstance(within, SpecError):
            raise within
        assert is_back
        return within

    return policy


def at_real_time_already():
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def without_privileges():
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    with suppress(PermissionError):  # then there are none
        os.setuid(NOBODY)


def test_the_policy_is_back_after_the_load(policy_within):
    assert policy_within(without_preempting) == os.SCHED_BATCH


def test_the_policy_is_back_after_an_interruption():
    before = os.sched_getscheduler(0)

    with pytest.raises(KeyboardInterrupt), without_preempting():
        raise KeyboardInterrupt

    assert os.sched_getscheduler(0) == before


@pytest.mark.usefixtures("real_time_granted")
def test_a_policy_that_the_user_chose_stays(policy_within):
    """As with `chrt -f 1 triton-kit perf`."""
    policy = policy_within(without_preempting, prepare=at_real_time_already)

    assert policy == os.SCHED_FIFO


@pytest.mark.usefixtures("real_time_granted")
def test_real_time_is_for_this_thread_alone(policy_within):
    policy = policy_within(at_real_time)

    assert policy == os.SCHED_FIFO | os.SCHED_RESET_ON_FORK


@pytest.mark.usefixtures("real_time_granted")
def test_a_closed_loop_after_real_time_takes_no_core(policy_within):
    def prepare():
        with at_real_time():
            pass

    policy = policy_within(without_preempting, prepare=prepare)

    assert policy & ~os.SCHED_RESET_ON_FORK == os.SCHED_BATCH


def test_real_time_that_is_not_granted_says_what_grants_it(policy_within):
    with pytest.raises(SpecError) as caught:
        policy_within(at_real_time, prepare=without_privileges)

    assert "does not grant it" in caught.value.message
    assert "CAP_SYS_NICE" in caught.value.hint


@pytest.fixture
def group_without_real_time(tmp_path):
    """Return a control group whose threads the kernel gives no real-time priority."""
    group = CONTROL_GROUPS / tmp_path.name
    try:
        group.mkdir()
    except OSError:
        pytest.skip("needs to make control groups")
    try:
        runtime = group / "cpu.rt_runtime_us"
        if not runtime.exists() or runtime.read_text().strip() != "0":
            pytest.skip("this kernel gives every control group real-time priorities")
        yield group
    finally:
        group.rmdir()


def test_real_time_that_a_control_group_denies_says_so(
    policy_within, group_without_real_time
):
    """Whoever has the capability is not told to get it."""

    def prepare():
        (group_without_real_time / "tasks").write_text(str(os.getpid()))

    with pytest.raises(SpecError) as caught:
        policy_within(at_real_time, prepare=prepare)

    assert caught.value.hint.startswith("CAP_SYS_NICE is there")
    assert "cpu.rt_runtime_us" in caught.value.hint
