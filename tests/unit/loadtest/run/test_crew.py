"""What the parent makes of its workers' words; the workers are real processes."""

import subprocess
import sys
from contextlib import contextmanager

import pytest

from triton_kit.errors import SpecError, TransportError
from triton_kit.loadtest.loops.load import ClosedLoad
from triton_kit.loadtest.net.reactor import Reactor
from triton_kit.loadtest.request import Failure
from triton_kit.loadtest.run.crew import CrewEngine, _Worker, ask

WITHIN_S = 60.0
TALKATIVE = """
from triton_kit.loadtest.run.worker import tell
tell("count", ended=1)
tell("cut", bytes(range(256)) * (1 << 17), sent=3)
tell("cut", b"\\n{}", sent=4)
input()
tell("error", kind="SpecError", message="wrong", hint="right")
"""
OBEDIENT = """
import json, sys
from triton_kit.loadtest.run.worker import tell
from triton_kit.loadtest.record.recorder import Cut, Recording
from triton_kit.loadtest.record.recording_wire import cut_to_bytes
for line in sys.stdin:
    if json.loads(line)["do"] == "expire":
        tell("count", ended=7, owed=None)
    else:
        tell("cut", cut_to_bytes(Cut(Recording())), sent=None)
"""
SLOW = """
import json, sys
from triton_kit.loadtest.run.worker import tell
from triton_kit.loadtest.record.recorder import Cut, Recording
from triton_kit.loadtest.record.recording_wire import cut_to_bytes
first, again, cut = (json.loads(sys.stdin.readline()) for _ in range(3))
tell("done", round=first["round"])
tell("cut", cut_to_bytes(Cut(Recording())), sent=None)
sys.stdin.read()
"""


@contextmanager
def working(script, log):
    log.touch()
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as process:
        yield _Worker(0, process, log)


def test_events_arrive_whole_and_in_order_however_large_they_are(tmp_path):
    with working(TALKATIVE, tmp_path / "log") as worker:
        [(first, large)] = ask([worker], "cut", within_s=WITHIN_S)
        [(second, small)] = ask([worker], "cut", within_s=WITHIN_S)

        assert (first["sent"], large == bytes(range(256)) * (1 << 17)) == (3, True)
        assert (second["sent"], small) == (4, b"\n{}")
        assert [event["is"] for event, _ in worker.events] == ["count"]
        worker.order(do="end")
        with pytest.raises(SpecError, match="wrong"):
            worker.read()
        with pytest.raises(TransportError, match="died"):
            worker.read()


def test_what_ended_before_a_cut_does_not_count_after_it(tmp_path):
    with working(OBEDIENT, tmp_path / "log") as worker, Reactor() as reactor:
        engine = CrewEngine(reactor, [worker], ClosedLoad(1))
        engine.expire(0, Failure("timeout"))

        engine.cut()

        assert engine.ended == 0


def test_who_is_slow_to_end_its_sequences_may_be_asked_again_meanwhile(tmp_path):
    with working(SLOW, tmp_path / "log") as worker, Reactor() as reactor:
        engine = CrewEngine(reactor, [worker], ClosedLoad(1))
        engine.end_sequences()
        engine.end_sequences()

        engine.cut()
        was_done = engine.is_done
        engine.end_sequences()

        assert was_done
        assert not engine.is_done  # what is left to end is waited for
