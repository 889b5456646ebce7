"""Times of another clock become ours."""

import pytest

from triton_kit.loadtest.record.process_cpu import CpuTime
from triton_kit.loadtest.record.recorder import Recording, Snapshot
from triton_kit.loadtest.run import messages
from triton_kit.loadtest.run.clock_offset import SAME_CLOCK, ClockOffset

CPU = CpuTime(5_000, 0.25)


@pytest.mark.parametrize(
    "event",
    [
        messages.Opened(CPU),
        messages.Counts(1, 1, 0, None, CPU),
        messages.Taken(Snapshot(Recording()), None, CPU),
    ],
)
def test_cpu_times_are_on_our_clock(event):
    assert SAME_CLOCK.from_worker(event).cpu == CPU
    assert ClockOffset(offset_ns=3_000).from_worker(event).cpu == CpuTime(2_000, 0.25)
