"""Starts the fuzzing processes and tells what they found."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
NAMES = sorted(folder.name for folder in CORPUS.iterdir())
# Beyond the time to fuzz: the start, under instrumentation, and one hang.
SPARE_S = 90


@dataclass(frozen=True)
class Outcome:
    """How one process ended: inputs tried, peak memory, what it found ("": nothing)."""

    runs: int
    peak_mb: int
    found: str


def fuzz(name, *, seconds, folder, one_input=None):
    """Fuzz a target in a child; inputs that it fails on are left in `folder`."""
    # libFuzzer counts the peak memory of its process, and that begins with its parent's
    # (Linux keeps ru_maxrss over exec). So a small parent starts it: `timeout`.
    argv = [
        "timeout",
        str(seconds + SPARE_S),
        sys.executable,
        "-P",
        str(HERE / "run.py"),
        name,
        str(seconds),
    ]
    argv += [str(CORPUS / name), *([str(one_input)] if one_input else [])]
    done = subprocess.run(
        argv,
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds + SPARE_S + 10,
        env={"PYTHONPATH": str(HERE), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    runs = re.search(r"number_of_executed_units: *(\d+)", done.stderr)
    peak = re.search(r"peak_rss_mb: *(\d+)", done.stderr)
    found = "" if done.returncode == 0 else done.stderr[-4000:] + done.stdout[-2000:]
    return Outcome(int(runs[1]) if runs else 0, int(peak[1]) if peak else 0, found)
