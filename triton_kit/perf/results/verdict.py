"""One sentence per run: can the figures be trusted, and who was the limit."""

from __future__ import annotations

from dataclasses import dataclass

from triton_kit.perf.record.cpu import CpuUse
from triton_kit.perf.record.recorder import Recording

# A single thread cannot use more than one core; from here on it is the limit.
_CLIENT_CORES = 0.9
# Others' work beyond this much of a core shows in latencies.
_FOREIGN_CORES = 0.25
# An open loop that sent less than this share of what it should has fallen behind.
_ACHIEVED_SHARE = 0.99
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
    wanted_hz: float | None,
    answered_hz: float,
) -> Verdict:
    """Judge a run; the first of these that holds, the worst for the figures first.

    Args:
        unsettled: why the stop rule was not content, if it was not.
        cpu: who used the CPU during the run.
        recording: its requests.
        wanted_hz: requests per second an open loop was to send; None for a closed one.
        answered_hz: good answers per second.
    """
    if cpu.foreign_cores > _FOREIGN_CORES:
        return Verdict(
            kind="disturbed",
            reason=f"other processes used {cpu.foreign_cores:.2f} cores",
        )
    if cpu.busiest_cores > _CLIENT_CORES:
        return Verdict(
            kind="client-limited",
            reason=f"a client process used {cpu.busiest_cores:.2f} of the one core "
            "it can use",
        )
    behind = wanted_hz is not None and answered_hz < _ACHIEVED_SHARE * wanted_hz
    if behind:
        return Verdict(
            kind="server-limited",
            reason=f"{answered_hz:.0f} of {wanted_hz:.0f} requests/s were answered",
        )
    if recording.failed and not recording.succeeded:
        return Verdict(kind="unstable", reason="no request was answered well")
    if unsettled is not None:
        return Verdict(kind="unstable", reason=unsettled)
    if cpu.server_s is not None and cpu.machine_share > _BUSY_SHARE:
        return Verdict(
            kind="server-limited",
            reason=f"{cpu.machine_share:.0%} of this machine's CPU is in use",
        )
    return Verdict(kind="stable")
