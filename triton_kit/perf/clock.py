"""The one clock of a measurement: CLOCK_MONOTONIC, in nanoseconds.

Wall time appears only in "when was this measured", never in a duration.
"""

from __future__ import annotations

import time

NS_PER_S = 1_000_000_000
NS_PER_US = 1_000

now_ns = time.monotonic_ns


def ns(seconds: float) -> int:
    """Convert seconds to whole nanoseconds."""
    return round(seconds * NS_PER_S)
