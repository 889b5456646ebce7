"""The worker of `ranges.observe`: runs every sample, keeps ends and histograms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from triton_kit.conversion.workers.onnx_worker import open_session
from triton_kit.conversion.workers.samples import Feed, read_feed
from triton_kit.conversion.workers.worker import Request

HISTOGRAM_BINS = 2048


MOST_BYTES = 2**30  # of all values at once: longer batches are run in parts


def values_by_feed(request: Request) -> Iterator[list[NDArray[np.float32]]]:
    """Yield all values of one feed, or part of it, in the order of `values`."""
    libraries = request["op_libraries"]
    session = open_session(request["model"], "off", op_libraries=libraries)
    outputs = {output.name for output in session.get_outputs()}
    wanted = [name for name in request["values"] if name in outputs]
    row_bytes = 0
    for path in request["feeds"]:
        feed = read_feed(Path(path), request["names"])
        rows, start = _free_rows(session, feed), 0
        while start < rows:
            # The first row alone says how many fit.
            count = max(1, MOST_BYTES // row_bytes) if row_bytes else 1
            part = feed if count >= rows else _part(feed, start, count)
            # Asked for no output, ONNX Runtime computes all.
            computed = session.run(wanted, part) if wanted else []
            found = part | dict(zip(wanted, computed, strict=True))
            arrays = [found[name] for name in request["values"]]
            total = sum(array.nbytes for array in arrays)
            row_bytes = max(row_bytes, total // min(count, rows - start))
            yield arrays
            start += count


def _free_rows(session: ort.InferenceSession, feed: Feed) -> int:
    """Return how many rows may run apart: 1 where the batch cannot shrink."""
    sizes = {array.shape[0] for array in feed.values() if array.ndim}
    is_free = all(
        not isinstance(value.shape[0], int)
        for value in session.get_inputs()
        if value.shape
    )
    return max(1, sizes.pop()) if is_free and len(sizes) == 1 else 1


def _part(feed: Feed, start: int, count: int) -> Feed:
    return {n: a[start : start + count] if a.ndim else a for n, a in feed.items()}


def work(request: Request) -> dict[str, list[str]]:
    """Write the ranges of all values; return the names of values with NaN."""
    count = len(request["values"])
    lows, highs = np.full(count, np.inf), np.full(count, -np.inf)
    broken: set[int] = set()
    for arrays in values_by_feed(request):
        for index, array in enumerate(arrays):
            if np.isnan(array).any():
                broken.add(index)
            # Infinities are no range: masks put them in on purpose.
            finite = array[np.isfinite(array)]
            if finite.size:
                lows[index] = min(lows[index], float(finite.min()))
                highs[index] = max(highs[index], float(finite.max()))
    found = {"lows": lows, "highs": highs}
    if request["histograms"] and not broken:
        found["histograms"] = histograms(request, np.maximum(-lows, highs))
    np.savez(request["ranges"], **found)
    return {"nan": [request["values"][index] for index in sorted(broken)]}


def histograms(request: Request, largest: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count absolute values in bins from 0 to each tensor's largest, in a second run.

    A second run, because bins need the ends first: with ends that grow as samples come
    the result would depend on their order.
    """
    counts = np.zeros((len(largest), HISTOGRAM_BINS), np.int64)
    for arrays in values_by_feed(request):
        for index, array in enumerate(arrays):
            end = largest[index]
            if array.size and end > 0:
                found, _ = np.histogram(np.abs(array), HISTOGRAM_BINS, (0.0, end))
                counts[index] += found
    return counts
