"""The child of `verify.compare`: reads an order on stdin, prints a comparison."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from triton_kit.tensors import data_type

INTEGER_LIMIT = 8  # random integers may be indices: small ones are in range


def random_values(
    dtype_name: str, shape: list[int], rng: np.random.Generator
) -> NDArray[Any]:
    """Draw values that any model takes: a normal spread, or small integers."""
    dtype = np.dtype(data_type(dtype_name).numpy)
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind == "O":
        return rng.integers(0, INTEGER_LIMIT, shape).astype(str).astype(object)
    return rng.integers(0, INTEGER_LIMIT, shape).astype(dtype)


def run_model(path: str, feeds: list[dict[str, NDArray[Any]]]) -> list[list[Any]]:
    """Run a model on every feed, optimisations off."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return [session.run(None, feed) for feed in feeds]


def difference(left: NDArray[Any], right: NDArray[Any]) -> tuple[float, float]:
    """Return the largest difference and the largest value; inf where they cannot be."""
    if left.shape != right.shape or left.dtype != right.dtype:
        return float("inf"), 0.0
    if left.size == 0:
        return 0.0, 0.0
    if left.dtype.kind == "O":
        return (0.0 if (left == right).all() else float("inf")), 0.0
    a, b = left.astype(np.float64), right.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    apart = np.where(same, 0.0, np.abs(a - b))
    finite = np.abs(a[np.isfinite(a)])
    return float(np.nan_to_num(apart, nan=np.inf).max()), float(finite.max(initial=0.0))


def main() -> None:
    """Do one order."""
    order = json.load(sys.stdin)
    rng = np.random.default_rng(order["seed"])
    feeds = [
        {
            item["name"]: random_values(item["dtype"], item["shapes"][trial], rng)
            for item in order["inputs"]
        }
        for trial in range(3)
    ]
    original = run_model(order["original"], feeds)
    candidate = run_model(order["candidate"], feeds)
    pairs = [
        difference(left, right)
        for lefts, rights in zip(original, candidate, strict=True)
        for left, right in zip(lefts, rights, strict=True)
    ]
    errors, values = zip(*pairs, strict=True)
    json.dump({"max_abs_error": max(errors), "max_abs_value": max(values)}, sys.stdout)


if __name__ == "__main__":
    main()
