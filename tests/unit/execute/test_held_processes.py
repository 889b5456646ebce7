"""Processes that hold something, each on cores of its own, until the parent ends."""

import os
import signal
import subprocess
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from triton_kit.errors import ServerError, VerifyError
from triton_kit.execute.cores import divide, own_cores
from triton_kit.execute.gpus import divide_gpus, own_gpus
from triton_kit.execute.held import Held
from triton_kit.execute.held_processes import local_slots
from triton_kit.process import python_command

HERE = Path(__file__).parent
ONE = own_cores()[:1]
WITHIN_S = 60


@pytest.fixture(autouse=True)
def functions(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HERE))


def held(folder, call="child"):
    return Held(call=f"held_functions:{call}", argument=folder)


def ended(slots, *words):
    """Make a call in each of the first processes; return their ends by slot."""
    for slot, word in enumerate(words):
        slots.begin(slot, word)
    found = {}
    while len(found) < len(words):
        found |= {end.slot: end for end in slots.wait()}
    return found


def is_gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until_gone(pid):
    """Wait for a process that the kernel ends with its parent, at a time of its own."""
    deadline_s = time.monotonic() + WITHIN_S
    while not is_gone(pid):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_each_process_keeps_what_it_holds_on_its_own_cores(tmp_path):
    cores = divide(own_cores(), 2, 1, may_share=True)
    with local_slots(held(tmp_path), cores) as slots:
        first, second = (ended(slots, "a", "b") for _ in range(2))
        children = slots.greetings
        assert len({*children}) == 2
        assert not any(map(is_gone, children))

    assert {slot: end.value for slot, end in first.items()} == {
        slot: end.value for slot, end in second.items()
    }
    for slot, end in first.items():
        word, pid, used = end.value
        assert word == "ab"[slot]
        assert used == sorted(cores[slot])
        assert (tmp_path / str(pid)).read_text() == "closed"
    assert all(map(is_gone, children))


@pytest.mark.parametrize("names", ["0,1", "GPU-aa,GPU-bb"])
def test_each_process_and_its_children_see_their_own_gpu_alone(
    tmp_path, monkeypatch, names
):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", names)
    gpus = divide_gpus(own_gpus(), 2, 1)
    with local_slots(held(tmp_path), [ONE, ONE], gpus) as slots:
        seen = ended(slots, "gpus", "gpus")
        children = [psutil.Process(pid).environ() for pid in slots.greetings]
        died = ended(slots, "die", "b")
        again = ended(slots, "gpus", "gpus")

    wanted = dict(enumerate(names.split(",")))
    assert {slot: end.value for slot, end in seen.items()} == wanted
    assert [child["CUDA_VISIBLE_DEVICES"] for child in children] == names.split(",")
    assert died[0].died
    assert {slot: end.value for slot, end in again.items()} == wanted


def test_processes_without_gpus_see_what_their_parent_sees(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with local_slots(held(tmp_path), [ONE]) as slots:
        seen = ended(slots, "gpus")

    assert seen[0].value == "0,1"


def test_a_process_that_dies_costs_its_call_and_is_started_again(tmp_path):
    with local_slots(held(tmp_path), [ONE, ONE]) as slots:
        before = list(slots.greetings)
        died = ended(slots, "die", "b")
        after = ended(slots, "a", "b")
        greetings = list(slots.greetings)

    assert died[0].died == "killed by SIGKILL"
    assert died[1].value[0] == "b"
    assert after[0].value[0] == "a"
    assert greetings[0] != before[0]
    assert greetings[1] == before[1]
    wait_until_gone(before[0])


def test_an_error_comes_back_and_another_exception_is_named(tmp_path):
    with local_slots(held(tmp_path), [ONE, ONE]) as slots:
        found = ended(slots, "fail", "crash")

    assert type(found[0].error) is VerifyError
    assert (found[0].error.message, found[0].error.hint) == ("wrong", "right")
    assert "nothing to divide by" in found[1].died


def test_a_process_that_cannot_hold_it_is_an_error(tmp_path):
    with (
        pytest.raises(VerifyError, match="wrong"),
        local_slots(held(tmp_path, "nothing"), [ONE]),
    ):
        pass
    with (
        pytest.raises(ServerError, match=r"exit code 1: .*held_nothing"),
        local_slots(Held(call="held_nothing:at_all", argument=None), [ONE]),
    ):
        pass


def test_the_others_end_when_one_is_kept(tmp_path):
    with local_slots(held(tmp_path), [ONE, ONE]) as slots:
        slots.keep(1)
        first, second = slots.greetings
        assert is_gone(first)
        assert not is_gone(second)
        slots.begin(1, "b")
        [end] = slots.wait()
        assert end.value[0] == "b"


@pytest.mark.parametrize(
    ("number", "in_thread"),
    [
        (signal.SIGKILL, False),
        (signal.SIGKILL, True),
        (signal.SIGTERM, False),
        (signal.SIGINT, False),
    ],
)
def test_a_parent_that_ends_leaves_no_process(tmp_path, number, in_thread):
    """Whether a call is being made in a process, or none."""
    program = textwrap.dedent(f"""
        import signal, sys, threading
        from pathlib import Path
        from triton_kit.execute.held import Held
        from triton_kit.execute.held_processes import local_slots

        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        def main():
            held = Held(call="held_functions:child", argument=Path({str(tmp_path)!r}))
            with local_slots(held, [{ONE}, {ONE}]) as slots:
                slots.begin(0, "sleep")
                print(*slots.greetings, flush=True)
                slots.wait()
        thread = threading.Thread(target=main, daemon=True)
        thread.start() if {in_thread} else main()
        thread.join()
    """)
    with subprocess.Popen(
        python_command("-c", program),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        children = [*map(int, process.stdout.readline().split())]
        family = psutil.Process(process.pid).children(recursive=True)
        assert {*children} < {child.pid for child in family}
        os.kill(process.pid, number)
        process.communicate(timeout=WITHIN_S)
    _, left = psutil.wait_procs(family, timeout=WITHIN_S)

    assert not left
    closed = [path for path in tmp_path.iterdir() if not path.suffix]
    assert len(closed) == 2
