"""Which scheduling a load needs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from triton_kit.loadtest.loops.load import Load
from triton_kit.loadtest.net.scheduling import at_real_time, without_preempting


def scheduling_of(load: Load, *, real_time: bool) -> AbstractContextManager[None]:
    """Preempt no other process, unless a due time or a lone request needs it."""
    if real_time:
        return at_real_time()
    if (load.concurrency or 1) > 1:
        return without_preempting()
    return nullcontext()
