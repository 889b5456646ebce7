"""Results as an HdrHistogram log (version 1.3, histograms in encoding V2).

The format is that of the Java implementation, which every other one reads: a line per
histogram, its counts as ZigZag LEB128 numbers (runs of zeros as one negative number),
compressed by zlib, in base64.
"""

from __future__ import annotations

import base64
import struct
import time
import zlib
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from triton_kit.loadtest.net.clock import NS_PER_S
from triton_kit.loadtest.record.histogram import LONGEST_NS, Histogram
from triton_kit.loadtest.results.result import PerfResult
from triton_kit.loadtest.results.run import Run

_DIGITS = 3  # significant ones: buckets are at most 0.1 % wide, less than our own
_SUB_BUCKET_BITS = 11  # what three digits need: 2048 buckets up to twice 1024
_HALF_BITS = _SUB_BUCKET_BITS - 1
_COOKIE = 0x1C849303 | 0x10
_COMPRESSED_COOKIE = 0x1C849304 | 0x10
# Cookie, bytes that follow, index offset, digits, lowest, highest, ratio to doubles.
_HEAD = struct.Struct(">iiiiqqd")
_COMPRESSED_HEAD = struct.Struct(">ii")
_NS_PER_MS = 1e6
_LEGEND = '"StartTimestamp","Interval_Length","Interval_Max"'


def as_hdr_log(result: PerfResult) -> str:
    """Return the latencies of each load, in nanoseconds.

    Two lines for each, tagged with its name: latency from the due time, and, with
    `.from-send` behind it, from the actual send. What the result counts, they count.
    """
    shift_ns = time.time_ns() - time.monotonic_ns()
    runs = [run for run in result.runs if run.boundaries_ns]
    base_ns = runs[0].boundaries_ns[0] if runs else time.monotonic_ns()
    start = datetime.fromtimestamp((base_ns + shift_ns) / NS_PER_S, UTC)
    lines = [
        "#[Latencies in ns, logged by triton-kit perf]",
        "#[Histogram log format version 1.3]",
        f"#[StartTime: {start.timestamp():.3f} (seconds since epoch), {start:%c} UTC]",
        f"#[BaseTime: {start.timestamp():.3f} (seconds since epoch)]",
        f'{_LEGEND},"Interval_Compressed_Histogram"',
    ]
    for run in runs:
        tag = run.name.replace(" ", "-").replace(",", ";")
        recording = run.recording
        lines.append(_line(run, tag, recording.latency, base_ns))
        lines.append(_line(run, f"{tag}.from-send", recording.from_send, base_ns))
    return "\n".join([*lines, ""])


def _line(run: Run, tag: str, histogram: Histogram, base_ns: int) -> str:
    begin_s = (run.boundaries_ns[-1] - base_ns) / NS_PER_S - run.window_s
    longest_ms = histogram.max_ns / _NS_PER_MS
    times = f"{max(begin_s, 0.0):.3f},{run.window_s:.3f},{longest_ms:.3f}"
    return f"Tag={tag},{times},{encoded(histogram)}"


def encoded(histogram: Histogram) -> str:
    """Return a histogram as HdrHistogram's base64; values in ns.

    Every count lies in the bucket that holds the middle of ours, but for one each at
    the exact minimum and maximum.
    """
    counts = _counts(histogram)
    body = _zigzag(counts)
    head = _HEAD.pack(_COOKIE, len(body), 0, _DIGITS, 1, LONGEST_NS, 1.0)
    packed = zlib.compress(head + body)
    framed = _COMPRESSED_HEAD.pack(_COMPRESSED_COOKIE, len(packed)) + packed
    return base64.b64encode(framed).decode()


def _counts(histogram: Histogram) -> NDArray[np.int64]:
    """Return HdrHistogram's array of counts, up to the last one that is not 0."""
    if not histogram.count:
        return np.zeros(0, np.int64)
    values, numbers = histogram.values_ns()
    ends = np.array([histogram.min_ns, histogram.max_ns], np.int64)
    if histogram.count > 1:
        numbers[0] -= 1
        numbers[-1] -= 1
        values = np.concatenate([values, ends])
        numbers = np.concatenate([numbers, np.ones(2, np.int64)])
    index = _index(np.clip(values, 1, LONGEST_NS))
    counts = np.zeros(int(index.max()) + 1, np.int64)
    np.add.at(counts, index, numbers)
    return counts


def _index(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where HdrHistogram counts each value, int64 of shape (n,), all >= 1."""
    _, bits = np.frexp(values.astype(np.float64))  # exact below 2**53
    bucket = np.maximum(bits.astype(np.int64) - _SUB_BUCKET_BITS, 0)
    index: NDArray[np.int64] = (bucket << _HALF_BITS) + (values >> bucket)
    return index


def _zigzag(counts: NDArray[np.int64]) -> bytes:
    numbers, zeros = bytearray(), 0
    for count in counts.tolist():
        if not count:
            zeros += 1
            continue
        if zeros:
            _append(numbers, -zeros)
            zeros = 0
        _append(numbers, count)
    return bytes(numbers)


def _append(numbers: bytearray, number: int) -> None:
    """Add a number of less than 55 bits; longer ones have a form of their own."""
    left = (number << 1) ^ (number >> 63)
    while left > 0x7F:
        numbers.append(left & 0x7F | 0x80)
        left >>= 7
    numbers.append(left)
