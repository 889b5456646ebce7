"""Wall time, CPU time and memory of work, and how busy others kept the machine."""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

MIB = 2**20


@dataclass
class Spent:
    """What some work took; `foreign_cores` is how many cores others kept busy."""

    seconds: float
    cpu_seconds: float
    foreign_cores: float
    peak_bytes: int = 0  # of the largest process in it


def machine_s():
    """Return the busy CPU time of the machine since its start."""
    busy = psutil.cpu_times()
    return busy.user + busy.nice + busy.system + busy.irq + busy.softirq + busy.steal


@contextmanager
def watched(spent_by):
    """Yield a Spent that is filled at the end; `spent_by()` is the work's CPU time."""
    spent = Spent(0.0, 0.0, 0.0)
    began, cpu, machine = time.perf_counter(), spent_by(), machine_s()
    yield spent
    spent.seconds = time.perf_counter() - began
    spent.cpu_seconds = spent_by() - cpu
    busy_s = machine_s() - machine
    spent.foreign_cores = max(0.0, busy_s - spent.cpu_seconds) / spent.seconds


def run(argv, **options):
    """Run a command and all its children to the end; return what they took."""
    with tempfile.TemporaryFile() as log:
        began, machine = time.perf_counter(), machine_s()
        process = subprocess.Popen(
            argv, stdout=log, stderr=subprocess.STDOUT, **options
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds, busy_s = time.perf_counter() - began, machine_s() - machine
        if process.returncode:
            log.seek(0)
            sys.exit(f"{argv} failed:\n{log.read().decode(errors='replace')[-3000:]}")
    cpu_s = usage.ru_utime + usage.ru_stime
    return Spent(
        seconds, cpu_s, max(0.0, busy_s - cpu_s) / seconds, usage.ru_maxrss * 1024
    )
