"""One sentence per run: can the figures be trusted, and who was the limit."""

from __future__ import annotations

from dataclasses import dataclass

from triton_kit.perf.clock import NS_PER_S
from triton_kit.perf.record.cpu import CpuUse
from triton_kit.perf.record.recorder import Recording

# A single thread cannot use more than one core; from here on it is the limit.
_CLIENT_CORES = 0.9
# Others' work beyond this much of a core shows in latencies.
_FOREIGN_CORES = 0.25
# An open loop leaves more than this share of its requests to the time after it, beside
# what latency explains, only where the server has fallen behind.
_LATE_SHARE = 0.01
_LATE_REQUESTS = 2
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
    due: int | None,
    late: int,
    length_s: float,
) -> Verdict:
    """Judge a run; the first of these that holds, the worst for the figures first.

    Args:
        unsettled: why the stop rule was not content, if it was not.
        cpu: who used the CPU during the run.
        recording: its requests.
        due: the requests of an open loop; None for a closed one.
        late: those that had not ended when the measured time was over.
        length_s: the measured time.
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
    if due is not None and _is_behind(recording, due, late, length_s):
        return Verdict(
            kind="server-limited",
            reason=f"{late} of {due} requests were still unanswered when the time was "
            "over",
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


def _is_behind(recording: Recording, due: int, late: int, length_s: float) -> bool:
    """Say whether more is late than what is always in flight at such a latency.

    Latencies grow while a server falls behind, so it is the fast answers that tell.
    """
    if not length_s:
        return False
    in_flight = due / length_s * recording.latency.quantile_ns(0.25) / NS_PER_S
    return late > _LATE_REQUESTS + _LATE_SHARE * due + 2 * in_flight
