"""`perf --baseline`: hold the result against an earlier one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from triton_kit.errors import SpecError

if TYPE_CHECKING:
    from triton_kit.comparison.conditions import Condition
    from triton_kit.comparison.result_file import ResultFile
    from triton_kit.loadtest.results.result import PerfResult

_THIS_RUN = Path("this run")


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """An earlier result, and the changes that fail."""

    result: ResultFile
    conditions: tuple[Condition, ...]

    def report(self, result: PerfResult) -> tuple[str, bool]:
        """Return the comparison as text, and whether it fails.

        Raises:
            SpecError: the two are not alike, or have no load in common.
        """
        from triton_kit.comparison.conditions import judge
        from triton_kit.comparison.differences import compare_results
        from triton_kit.comparison.report import text_report
        from triton_kit.comparison.result_file import result_from_json

        measured = result_from_json(result.as_json(), _THIS_RUN)
        figures = [condition.figure for condition in self.conditions]
        comparison = compare_results(self.result, measured, figures=figures)
        judgements = judge(comparison, self.conditions)
        failed = any(judgement.failure for judgement in judgements)
        return text_report(comparison, judgements), failed


def read_baseline(path: Path | None, fail_if: str | None) -> Baseline | None:
    """Read the earlier result before the load, so that a mistake costs no time.

    Raises:
        SpecError: it is no result, or a condition cannot be read.
    """
    if path is None:
        if fail_if is not None:
            raise SpecError("--fail-if has no effect without --baseline")
        return None
    from triton_kit.comparison.conditions import parse_conditions
    from triton_kit.comparison.result_file import read_result

    conditions = parse_conditions(fail_if) if fail_if is not None else ()
    return Baseline(result=read_result(path), conditions=conditions)
