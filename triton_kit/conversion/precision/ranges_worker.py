"""The child of `ranges.observe`: runs every sample, keeps ends and histograms."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triton_kit.conversion.workers.onnx_worker import open_session
from triton_kit.conversion.workers.samples import read_feed

HISTOGRAM_BINS = 2048


def values_by_feed(order: dict[str, Any]) -> Iterator[list[NDArray[np.float32]]]:
    """Yield all values of one feed after the other: JSON order in, arrays out."""
    session = open_session(order["model"], "off")
    computed = {output.name for output in session.get_outputs()}
    wanted = [name for name in order["values"] if name in computed]
    for path in order["feeds"]:
        feed = read_feed(Path(path), order["names"])
        # Asked for nothing, ONNX Runtime answers everything.
        answers = session.run(wanted, feed) if wanted else []
        found = feed | dict(zip(wanted, answers, strict=True))
        yield [found[name] for name in order["values"]]


def observe(order: dict[str, Any]) -> list[str]:
    """Do one order; return the names of values with NaN."""
    count = len(order["values"])
    lows, highs = np.full(count, np.inf), np.full(count, -np.inf)
    broken: set[int] = set()
    for arrays in values_by_feed(order):
        for index, array in enumerate(arrays):
            if np.isnan(array).any():
                broken.add(index)
            # Infinities are no range: masks put them in on purpose.
            finite = array[np.isfinite(array)]
            if finite.size:
                lows[index] = min(lows[index], float(finite.min()))
                highs[index] = max(highs[index], float(finite.max()))
    found = {"lows": lows, "highs": highs}
    if order["histograms"] and not broken:
        found["histograms"] = histograms(order, np.maximum(-lows, highs))
    np.savez(order["answers"], **found)
    return [order["values"][index] for index in sorted(broken)]


def histograms(
    order: dict[str, Any], largest: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Count absolute values in bins from 0 to each tensor's largest, in a second run.

    A second run, because bins need the ends first: with ends that grow as samples come
    the result would depend on their order.
    """
    counts = np.zeros((len(largest), HISTOGRAM_BINS), np.int64)
    for arrays in values_by_feed(order):
        for index, array in enumerate(arrays):
            end = largest[index]
            if array.size and end > 0:
                found, _ = np.histogram(np.abs(array), HISTOGRAM_BINS, (0.0, end))
                counts[index] += found
    return counts


def main() -> None:
    """Do one order."""
    order = json.load(sys.stdin)
    try:
        broken = observe(order)
    except Exception as error:  # a supervisor's border: the parent explains it
        sys.exit(f"{type(error).__name__}: {error}")
    json.dump({"nan": broken}, sys.stdout)


if __name__ == "__main__":
    main()
