"""The changes from one result to another, load by load and figure by figure."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from triton_kit.comparison.figures import (
    ERRORS,
    FIGURES,
    RESOLUTION,
    Figure,
    figures_of,
)
from triton_kit.comparison.result_file import MeasuredRun, ResultFile
from triton_kit.comparison.statistics import (
    Interval,
    change,
    change_interval,
    share_interval,
)
from triton_kit.errors import SpecError, did_you_mean

STABLE = "stable"
LEAST_CONFIDENCE, MOST_CONFIDENCE = 0.5, 0.99999
Outcome = Literal["better", "worse", "no difference found", "not known"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One figure of one load, before and after.

    Attributes:
        figure: `throughput` (inferences/s), `mean`, `p50` ... (us), `ttft_p50` ...,
            `tokens` (per second), or `errors` (share of the requests).
        before, after: the figures; of repeated runs their geometric mean.
        change: as a share of `before`; of errors the difference of the shares.
        interval: where the change lies; None where the noise is not known.
        outcome: whether it is better, as far as the interval says so.
    """

    figure: str
    before: float
    after: float
    change: float
    interval: Interval | None
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadDifferences:
    """All figures of one load.

    Attributes:
        load: the load in words.
        runs: how many runs there are, before and after.
        unstable: verdicts of runs that perf does not call stable.
    """

    load: str
    runs: tuple[int, int]
    unstable: tuple[str, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What differs between two results.

    Attributes:
        before, after: the names of the files.
        confidence: that no figure of any load is called a change by chance alone.
        unlike: facts that differ between the two, in words.
        loads: by load, in the order of `before`.
        only_before, only_after: loads that the other result does not have.
    """

    before: str
    after: str
    confidence: float
    unlike: tuple[str, ...]
    loads: tuple[LoadDifferences, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as a JSON object."""
        content = asdict(self, dict_factory=_without_infinity)
        return {"schema": "triton-kit.compare/1", **content}


def _without_infinity(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object with null for each infinite number: JSON has none."""
    return {
        key: None if isinstance(value, float) and math.isinf(value) else value
        for key, value in pairs
    }


def compare_results(
    before: ResultFile,
    after: ResultFile,
    *,
    figures: Collection[str] = (),
    confidence: float = 0.95,
    allow_differences: bool = False,
) -> Comparison:
    """Return the changes from one result to another.

    Args:
        figures: those to compare, by name; empty: the usual ones. The fewer there are,
            the smaller the changes that are found.
        confidence: that no figure of any load is called a change by chance alone.
        allow_differences: compare results of different models, loads or machines too.

    Raises:
        SpecError: the results are not alike or have no load in common, or there is no
            such figure or confidence.
    """
    _check(figures, confidence)
    unlike = _unlike(before, after)
    if unlike and not allow_differences:
        raise SpecError(
            f"{before.path} and {after.path} are not alike: {'; '.join(unlike)}",
            hint="`triton-kit compare --allow-differences` compares them all the same",
        )
    first, second = before.runs_by_name(), after.runs_by_name()
    common = [name for name in first if name in second]
    if not common:
        raise SpecError(
            f"{before.path} and {after.path} have no load in common that ran to its "
            "end: "
            f"{'; '.join(first) or 'none'} and {'; '.join(second) or 'none'}",
            hint="measure both with the same loads, to their end",
        )
    pairs = [(name, first[name], second[name]) for name in common]
    count = sum(len(figures_of(*sides, named=figures)) + 1 for _, *sides in pairs)
    # So that all intervals hold at once (Bonferroni).
    each = 1 - (1 - confidence) / count
    return Comparison(
        before=str(before.path),
        after=str(after.path),
        confidence=confidence,
        unlike=tuple(unlike),
        loads=tuple(_load(*pair, figures, each) for pair in pairs),
        only_before=tuple(name for name in first if name not in second),
        only_after=tuple(name for name in second if name not in first),
    )


def _check(figures: Collection[str], confidence: float) -> None:
    for figure in figures:
        if figure not in FIGURES:
            hint = did_you_mean(figure, FIGURES)
            raise SpecError(f"figure {figure!r}: no such figure", hint=hint)
    if not LEAST_CONFIDENCE <= confidence <= MOST_CONFIDENCE:
        raise SpecError(
            f"confidence is {confidence}",
            hint=f"expected {LEAST_CONFIDENCE} to {MOST_CONFIDENCE}",
        )


def _unlike(before: ResultFile, after: ResultFile) -> list[str]:
    """Name the facts that differ. One that a result does not have is not compared.

    Raises:
        SpecError: one is of perf, the other of tune.
    """
    if before.kind != after.kind:
        raise SpecError(
            f"{before.path} is a result of {before.kind}, {after.path} of {after.kind}",
            hint="compare two results of perf, or two of tune",
        )
    found = []
    for one, other in (
        (before.model, after.model),
        (before.load, after.load),
        (before.machine, after.machine),
    ):
        found += [
            f"{name} {one[name]!r} and {other[name]!r}"
            for name in one
            if None not in (one[name], other[name]) and one[name] != other[name]
        ]
    return found


def _load(
    name: str,
    before: Sequence[MeasuredRun],
    after: Sequence[MeasuredRun],
    figures: Collection[str],
    confidence: float,
) -> LoadDifferences:
    kinds = {str(run.verdict.get("kind", STABLE)) for run in (*before, *after)}
    return LoadDifferences(
        load=name,
        runs=(len(before), len(after)),
        unstable=tuple(sorted(kinds - {STABLE})),
        differences=(
            *(
                _difference(figure, before, after, confidence)
                for figure in figures_of(before, after, named=figures)
            ),
            _errors(before, after, confidence),
        ),
    )


def _difference(
    figure: Figure,
    before: Sequence[MeasuredRun],
    after: Sequence[MeasuredRun],
    confidence: float,
) -> Difference:
    first, second = figure.sample(before), figure.sample(after)
    interval = change_interval(
        first, second, confidence=confidence, resolution=RESOLUTION
    )
    return Difference(
        figure=figure.name,
        before=first.point,
        after=second.point,
        change=change(first.point, second.point),
        interval=interval,
        outcome=_outcome(interval, more_is_better=figure.more_is_better),
    )


def _errors(
    before: Sequence[MeasuredRun], after: Sequence[MeasuredRun], confidence: float
) -> Difference:
    counts = [
        (sum(run.errors for run in runs), sum(run.requests for run in runs))
        for runs in (before, after)
    ]
    interval = share_interval(*counts, confidence=confidence)
    first, second = (count / of_all if of_all else 0.0 for count, of_all in counts)
    return Difference(
        figure=ERRORS,
        before=first,
        after=second,
        change=second - first,
        interval=interval,
        outcome=_outcome(interval, more_is_better=False),
    )


def _outcome(interval: Interval | None, *, more_is_better: bool) -> Outcome:
    if interval is None:
        return "not known"
    if not interval.excludes_zero:
        return "no difference found"
    return "better" if (interval.low > 0) == more_is_better else "worse"
