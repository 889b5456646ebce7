"""`triton_kit.compare`: two results of `perf`, as objects or files."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

from triton_kit.comparison.differences import Comparison, compare_results
from triton_kit.comparison.result_file import (
    ResultFile,
    read_result,
    result_from_json,
)


class _Result(Protocol):
    """A PerfResult, of which only the JSON is needed."""

    def as_json(self) -> Mapping[str, Any]:
        """Return the documented JSON object."""


def compare(
    before: str | os.PathLike[str] | _Result,
    after: str | os.PathLike[str] | _Result,
    *,
    figures: Collection[str] = (),
    confidence: float = 0.95,
    allow_differences: bool = False,
) -> Comparison:
    """Compare two results of `perf`, with an interval for every change.

    Args:
        before: a PerfResult, or the file that `perf --json` wrote.
        after: the same, of the later run.
        figures: those to compare, such as `p99`; empty: the usual ones. The fewer there
            are, the smaller the changes that are found.
        confidence: that no figure of any load is called a change by chance alone.
        allow_differences: compare results of different models, loads or machines too.

    Raises:
        SpecError: a file is no result, the results are not alike, or have no load in
            common.
    """
    return compare_results(
        _result(before, "before"),
        _result(after, "after"),
        figures=figures,
        confidence=confidence,
        allow_differences=allow_differences,
    )


def _result(result: str | os.PathLike[str] | _Result, name: str) -> ResultFile:
    if isinstance(result, (str, os.PathLike)):
        return read_result(Path(result))
    return result_from_json(result.as_json(), Path(name))
