"""One sentence per run: can the figures be trusted, and who was the limit."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from triton_kit.loadtest.record.backlog import Backlog, Growth
from triton_kit.loadtest.record.cpu import CpuUse
from triton_kit.loadtest.record.recorder import Recording
from triton_kit.loadtest.request import TIMEOUT

# A single thread cannot use more than one core; from here on it is the limit.
_CLIENT_CORES = 0.9
# What others take beyond this much of a core, and of the machine, shows in latencies.
# On a large one as much may be counted that nobody took: up to 0.76 of 16 idle cores.
_LOST_CORES = 0.25
_LOST_SHARE = 0.05
_LITTLE = 0.1  # a share of them that is not worth a word
# A server that keeps up may owe more at the end by chance: so many standard deviations
# of what it owes, and some at any rate.
_DEVIATIONS = 2
_FEW_REQUESTS = 2
# One that falls behind owes 2.3 times as much. Less may come of requests that take
# half as long as the run.
_BEHIND = 1.5
# More timeouts than this share of all requests are no accident. They also hide that a
# server falls behind: whoever gives up owes nothing any more.
_TIMEOUTS = 0.01
# What Triton answers once it takes a Python model's process for dead.
_DEAD_MODEL = re.compile(r"\bStub process '[^']*' is not healthy")
# The machine has nothing left for a server that runs on it.
_BUSY_SHARE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What kind of run it was, and why.

    `kind` is `stable`, `unstable`, `client-limited`, `server-limited` or `disturbed`.
    """

    kind: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}" if self.reason else self.kind


def judge(
    *,
    unsettled: str | None,
    cpu: CpuUse,
    recording: Recording,
    backlog: Backlog,
    cancels: bool = False,
) -> Verdict:
    """Judge a run; the first of these that holds, the worst for the figures first.

    Args:
        unsettled: why the stop rule was not content, if it was not.
        cpu: who used the CPU during the run.
        recording: its requests.
        backlog: what an open loop was owed over its time; empty for a closed one.
        cancels: whether requests that timed out were cancelled, as gRPC can.
    """
    late = _late(recording)
    if why := (
        _without_server(cpu, recording, cancels)
        or _without_model(recording)
        or _without_answers(recording)
    ):
        return Verdict(kind="unstable", reason=why)
    if cpu.lost_cores > max(_LOST_CORES, _LOST_SHARE * cpu.cores):
        return Verdict(kind="disturbed", reason=_lost(cpu))
    if cpu.busiest_cores > _CLIENT_CORES:
        return Verdict(
            kind="client-limited",
            reason=f"a client process used {cpu.busiest_cores:.2f} of the one core "
            "it can use",
        )
    if late:
        return Verdict(
            kind="server-limited",
            reason=f"{late} of {recording.total} requests had no answer in time",
        )
    growth = backlog.growth()
    if growth and _has_grown(growth, 1, _DEVIATIONS):
        is_behind = _has_grown(growth, _BEHIND, 0)
        return Verdict(
            kind="server-limited" if is_behind else "unstable",
            reason=f"{growth.second_quarter:.0f} requests were due and unanswered in "
            f"the second quarter of the time, {growth.last_quarter:.0f} in the last",
        )
    if unsettled is not None:
        return Verdict(kind="unstable", reason=unsettled)
    if cpu.server_s is not None and cpu.machine_share > _BUSY_SHARE:
        return Verdict(
            kind="server-limited",
            reason=f"{cpu.machine_share:.0%} of this machine's CPU is in use",
        )
    return Verdict(kind="stable")


def _lost(cpu: CpuUse) -> str:
    """Say who took the cores."""
    takers = {
        "other processes used {:.2f} cores": cpu.foreign_cores,
        "the host gave {:.2f} cores to other machines (steal)": cpu.stolen_cores,
    }
    told = [
        text.format(cores)
        for text, cores in takers.items()
        if cores > _LITTLE * cpu.lost_cores
    ]
    return ", ".join(told)


def _without_server(cpu: CpuUse, recording: Recording, cancels: bool) -> str | None:
    """Say that the server ended, if it did, and what is known to end some."""
    if not cpu.has_server_ended:
        return None
    ended = "the server's process ended"
    if _has_dead_model(recording):  # issue 8882 of Triton
        return (
            f"{ended}, as some releases (24.10 is one) do when the process of a "
            "Python model ends or has no CPU for a second"
        )
    if not cancels or TIMEOUT not in recording.errors:
        return ended
    return (  # issues 7368 and 8034 of Triton
        f"{ended}: some releases (24.10 is one) crash when gRPC requests are "
        "cancelled, as they are at their timeout"
    )


def _without_model(recording: Recording) -> str | None:
    """Say that a model answers no more, though Triton calls it ready."""
    if not _has_dead_model(recording):
        return None
    return (  # issues 7230 and 8604 of Triton
        "the process of a Python model ended or had no CPU for a second; it answers "
        "with errors until it is unloaded and loaded"
    )


def _has_dead_model(recording: Recording) -> bool:
    return any(_DEAD_MODEL.search(e.example) for e in recording.errors.values())


def _without_answers(recording: Recording) -> str | None:
    """Say that nothing was answered well, unless it all came too late."""
    if recording.succeeded or not recording.failed or _late(recording):
        return None
    return "no request was answered well"


def _late(recording: Recording) -> int:
    """Return how many requests timed out, if that is more than an accident."""
    timeouts = recording.errors.get(TIMEOUT)
    if timeouts is None or timeouts.count <= _TIMEOUTS * recording.total:
        return 0
    return timeouts.count


def _has_grown(growth: Growth, factor: float, deviations: float) -> bool:
    """Say whether more is owed than the rate, `factor` and chance make of it."""
    expected = factor * growth.second_quarter * max(growth.rate, 1)
    chance = _FEW_REQUESTS + deviations * math.sqrt(growth.last_quarter)
    return growth.last_quarter > expected + chance
