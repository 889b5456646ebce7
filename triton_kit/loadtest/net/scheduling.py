"""What the client asks of the kernel's scheduler."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from triton_kit.errors import SpecError

# Above everything that has no real-time priority, below whatever else has one.
_LOWEST_REAL_TIME = os.sched_param(1)
# Threads that are started meanwhile, such as the one that reads metrics, are as usual.
_NOT_INHERITED = os.SCHED_RESET_ON_FORK
_CAP_SYS_NICE = 1 << 23


@contextmanager
def without_preempting() -> Iterator[None]:
    """Have responses wake this thread without taking the core from another process.

    Where client and server share the cores, a client that interrupts the server for
    each response reads them one by one. One that waits for its turn finds several: over
    HTTP that is 30 % less CPU per request (16 and 64 at once), and as much more for
    the server. On a core that idles it runs as soon as before.

    A policy that the user set for this process (`chrt`) stays.
    """
    before, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    flag = before & _NOT_INHERITED
    if before != os.SCHED_OTHER | flag:
        yield
        return
    with suppress(PermissionError):  # a container may forbid it; all works without
        os.sched_setscheduler(0, os.SCHED_BATCH | flag, priority)
    try:
        yield
    finally:
        with suppress(PermissionError):
            os.sched_setscheduler(0, before, priority)


@contextmanager
def at_real_time() -> Iterator[None]:
    """Have due times wake this thread at once, whichever process uses the core.

    Raises:
        SpecError: the system does not grant this process a real-time priority.
    """
    before, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | _NOT_INHERITED, _LOWEST_REAL_TIME)
    except PermissionError:
        raise SpecError(
            "real-time priority was asked for, and the system does not grant it "
            "to this process",
            hint=_what_grants_it(),
        ) from None
    try:
        yield
    finally:
        # Without the capability the flag is not given back; it does no harm.
        os.sched_setscheduler(0, before | _NOT_INHERITED, priority)


def _what_grants_it() -> str:
    if _may_have_any_priority():
        return (
            "CAP_SYS_NICE is there; its control group may have no time for real-time "
            "threads (cpu.rt_runtime_us; docker run --cpu-rt-runtime), or it may be in "
            "a user namespace, where the capability is not the host's"
        )
    return (
        "CAP_SYS_NICE grants it (root has it; docker run --cap-add SYS_NICE), or a "
        "limit of 1 or more in `ulimit -r`"
    )


def _may_have_any_priority() -> bool:
    """Return whether this thread has the capability that the kernel looks at first."""
    status = Path("/proc/thread-self/status").read_text("utf-8")
    [capabilities] = re.findall(r"^CapEff:\s*(\w+)$", status, re.MULTILINE)
    return bool(int(capabilities, 16) & _CAP_SYS_NICE)
