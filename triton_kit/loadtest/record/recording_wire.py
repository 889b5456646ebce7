"""Recordings as bytes from one process to another: arrays and JSON, no pickle."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np

from triton_kit.loadtest.record.histogram import Histogram
from triton_kit.loadtest.record.recorder import Cut, ErrorTally, Recording

_HISTOGRAMS = ("latency", "from_send", "to_first", "lag", "between")


def cut_to_bytes(cut: Cut) -> bytes:
    """Return a cut as an .npz file; `cut_from_bytes` reads it."""
    arrays: dict[str, Any] = {}  # NumPy's savez takes anything
    front = []
    for index, recording in enumerate((cut.whole, *cut.parts)):
        moments = {}
        for name in _HISTOGRAMS:
            histogram: Histogram = getattr(recording, name)
            buckets = np.flatnonzero(histogram.counts)
            arrays[f"{index}.{name}"] = np.stack([buckets, histogram.counts[buckets]])
            moments[name] = [
                histogram.count,
                histogram.sum_ns,
                histogram.sum_of_squares,
                histogram.min_ns,
                histogram.max_ns,
            ]
        if recording.times:
            arrays[f"{index}.times"] = np.concatenate(recording.times)
        if recording.replied_at:
            arrays[f"{index}.replied_at"] = np.concatenate(recording.replied_at)
            counts = [len(came_ns) for came_ns in recording.replied_at]
            arrays[f"{index}.replied_at.counts"] = np.array(counts, np.int64)
        errors = {k: [t.count, t.example] for k, t in recording.errors.items()}
        front.append(
            {"replies": recording.replies, "errors": errors, "moments": moments}
        )
    arrays["front"] = np.frombuffer(json.dumps(front).encode(), np.uint8)
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def cut_from_bytes(data: bytes) -> Cut:
    """Read what `cut_to_bytes` wrote."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        front = json.loads(arrays["front"].tobytes())
        recordings = [
            _recording(arrays, index, entry) for index, entry in enumerate(front)
        ]
    return Cut(recordings[0], tuple(recordings[1:]))


def _recording(
    arrays: Any,  # noqa: ANN401  NumPy's NpzFile has no type of its own
    index: int,
    front: dict[str, Any],
) -> Recording:
    recording = Recording(replies=front["replies"])
    for name in _HISTOGRAMS:
        histogram: Histogram = getattr(recording, name)
        buckets, counts = arrays[f"{index}.{name}"]
        histogram.counts[buckets] = counts
        (
            histogram.count,
            histogram.sum_ns,
            histogram.sum_of_squares,
            histogram.min_ns,
            histogram.max_ns,
        ) = front["moments"][name]
    if f"{index}.times" in arrays:
        recording.times.append(arrays[f"{index}.times"])
    if f"{index}.replied_at" in arrays:
        ends = np.cumsum(arrays[f"{index}.replied_at.counts"])
        recording.replied_at += np.split(arrays[f"{index}.replied_at"], ends[:-1])
    for kind, (count, example) in front["errors"].items():
        recording.errors[kind] = ErrorTally(count=count, example=example)
    return recording
