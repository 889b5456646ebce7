"""What the parent makes of its workers' words; the workers are real processes."""

import subprocess
import sys
from contextlib import contextmanager

import pytest

from triton_kit.errors import SpecError, TransportError
from triton_kit.perf.engine.crew import _Worker, ask

WITHIN_S = 60.0
TALKATIVE = """
from triton_kit.perf.engine.worker import tell
tell("count", ended=1)
tell("cut", bytes(range(256)) * (1 << 17), sent=3)
tell("cut", b"\\n{}", sent=4)
input()
tell("error", kind="SpecError", message="wrong", hint="right")
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
