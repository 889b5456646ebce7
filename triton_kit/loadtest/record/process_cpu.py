"""The CPU time of the processes that send a load, as each of them counts its own.

So it is known wherever a process runs. It arrives with the reports of the process,
several times a second.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from triton_kit.loadtest.net.clock import NS_PER_S, now_ns


@dataclass(frozen=True, slots=True)
class CpuTime:
    """CPU seconds of a process since it started: user and system, of all threads.

    `at_ns` is when they were read, on the monotonic clock.
    """

    at_ns: int = 0
    spent_s: float = 0.0


def own_cpu_time() -> CpuTime:
    """Return the CPU time of this process."""
    return CpuTime(now_ns(), time.process_time_ns() / NS_PER_S)


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """CPU seconds that a process used within a stretch of time.

    `is_here` is whether it runs on this machine.
    """

    name: str
    spent_s: float
    is_here: bool = True


@dataclass(frozen=True, slots=True)
class LoadProcess:
    """A process that sends, in words, and the last CPU time that is known of it."""

    name: str
    cpu: CpuTime
    is_here: bool = True

    def use_since(self, before: LoadProcess, length_s: float) -> ProcessUse:
        """Return what it used in a stretch of time that two samples bound.

        Its reports came a little before the samples. It is taken to have used as much
        per second after them as between them.
        """
        spent_s = self.cpu.spent_s - before.cpu.spent_s
        reported_s = (self.cpu.at_ns - before.cpu.at_ns) / NS_PER_S
        if reported_s > 0:
            spent_s *= length_s / reported_s
        return ProcessUse(self.name, spent_s, self.is_here)
