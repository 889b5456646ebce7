"""What values flow through a graph, taken from samples in a child process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, ValueInfoProto

from triton_kit.conversion.onnx.onnx_file import save_for_worker, value_types
from triton_kit.conversion.workers.child import call_worker, run_failed
from triton_kit.conversion.workers.models import write_feeds
from triton_kit.conversion.workers.samples import Feed
from triton_kit.errors import ConvertError
from triton_kit.samples import read_npz
from triton_kit.scratch import scratch_folder

_LEVELS = 128  # of int8 without its sign: what entropy compares against


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRange:
    """The values that one tensor took over all samples.

    Attributes:
        low, high: least and largest value.
        histogram: of absolute values, `HISTOGRAM_BINS` equal bins from 0 to the
            largest; None where only the ends were asked for.
        samples: the number of feeds it was seen in.
    """

    low: float
    high: float
    samples: int
    histogram: NDArray[np.int64] | None = None

    @property
    def largest(self) -> float:
        """The largest absolute value."""
        return max(abs(self.low), abs(self.high))


def observe(
    model: ModelProto,
    feeds: Sequence[Feed],
    *,
    histograms: bool,
    timeout_s: float,
) -> dict[str, ValueRange]:
    """Run a float32 graph on every feed; return the range of every float32 value.

    Raises:
        ConvertError: the graph does not run, or a value is NaN.
    """
    with scratch_folder() as folder:
        path, ranges = folder / "observed.onnx", folder / "ranges.npz"
        names = _expose(model, path)
        if not names:
            return {}
        files = write_feeds(feeds, folder / "feeds")
        request = {
            "model": str(path),
            "names": files.names,
            "feeds": [str(p) for p in files.paths],
            "values": names,
            "histograms": histograms,
            "ranges": str(ranges),
        }
        response = call_worker(
            "precision.ranges_worker",
            request,
            timeout_s=timeout_s,
            failed=run_failed(path, "calibration"),
            preloaded=True,
        )
        if broken := response["nan"]:
            raise ConvertError(
                f"calibration: value {broken[0]!r} is NaN in float32 already",
                hint="look at the samples, or at the model itself",
            )
        return _read(ranges, names, len(feeds))


def _expose(model: ModelProto, path: Path) -> list[str]:
    """Write the graph with every float32 value as an output; return their names."""
    types = value_types(model)
    copy = ModelProto()
    copy.CopyFrom(model)
    outputs = {value.name for value in copy.graph.output}
    made = [name for node in copy.graph.node for name in node.output]
    names = [name for name in made if types.get(name) == TensorProto.FLOAT]
    for name in names:
        if name not in outputs:
            copy.graph.output.append(ValueInfoProto(name=name))
    fed = [v.name for v in copy.graph.input if types.get(v.name) == TensorProto.FLOAT]
    constant = {tensor.name for tensor in copy.graph.initializer}
    save_for_worker(copy, path)
    return [*(name for name in fed if name not in constant), *names]


def _read(path: Path, names: Sequence[str], feeds: int) -> dict[str, ValueRange]:
    found = read_npz(path)
    lows, highs = found["lows"], found["highs"]
    histograms = found.get("histograms")
    return {
        name: ValueRange(
            low=float(lows[i]),
            high=float(highs[i]),
            samples=feeds,
            histogram=None if histograms is None else histograms[i],
        )
        for i, name in enumerate(names)
        if lows[i] <= highs[i]  # an empty tensor has no range
    }


def limits(
    ranges: Mapping[str, ValueRange], *, method: str, percentile: float
) -> dict[str, tuple[float, float]]:
    """Return the least and largest value to keep of every tensor."""
    return {name: _limit(found, method, percentile) for name, found in ranges.items()}


def _limit(found: ValueRange, method: str, percentile: float) -> tuple[float, float]:
    if method == "minmax" or found.histogram is None or found.largest == 0:
        return found.low, found.high
    width = found.largest / len(found.histogram)
    if method == "percentile":
        bins = _percentile_bins(found.histogram, percentile)
    else:
        bins = _entropy_bins(found.histogram)
    most = bins * width
    return max(found.low, -most), min(found.high, most)


def _percentile_bins(histogram: NDArray[np.int64], percentile: float) -> int:
    below = np.cumsum(histogram) / histogram.sum()
    return int(np.searchsorted(below, percentile / 100)) + 1


def _entropy_bins(histogram: NDArray[np.int64]) -> int:
    """Return how many bins to keep so that 128 levels tell most about the values.

    The kept part, with all that lies beyond in its last bin, is compared with itself
    at 128 levels by the Kullback-Leibler divergence; the least one wins.

    Source:
        S. Migacz, "8-bit inference with TensorRT", GTC 2017.
    """
    # Rounding to zero is free of loss: bin 0 would outweigh all others after ReLU.
    counts = histogram.astype(np.float64)
    counts[0] = counts[1]
    best, least = len(counts), np.inf
    for bins in range(_LEVELS, len(counts) + 1, len(counts) // _LEVELS):
        kept = counts[:bins].copy()
        kept[-1] += counts[bins:].sum()
        divergence = _divergence(kept, _coarse(counts[:bins]))
        if divergence < least:
            best, least = bins, divergence
    return best


def _coarse(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Spread every one of 128 groups evenly over its bins that hold anything."""
    group = np.arange(len(counts)) * _LEVELS // len(counts)
    sums = np.bincount(group, counts, _LEVELS)
    filled = np.bincount(group, counts > 0, _LEVELS)
    even = sums / np.maximum(filled, 1)
    return np.where(counts > 0, even[group], 0.0)


def _divergence(true: NDArray[np.float64], coarse: NDArray[np.float64]) -> float:
    if not true.sum() or not coarse.sum():
        return float("inf")
    p, q = true / true.sum(), coarse / coarse.sum()
    seen = p > 0
    q = np.maximum(q[seen], 1e-12)
    return float(np.sum(p[seen] * np.log(p[seen] / q)))
