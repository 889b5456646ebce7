"""Which changes fail a comparison: `p99>+5%`, `throughput<-3%`, `errors>+0.1%`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from triton_kit.comparison.differences import Comparison, Difference
from triton_kit.comparison.figures import ERRORS, FIGURES, RATES
from triton_kit.errors import SpecError, did_you_mean

_TERM = re.compile(
    r"\s*(?P<figure>[a-z_]+[\d.]*)\s*(?P<sign>[<>])\s*(?P<bound>[+-]?\d+(\.\d+)?)\s*%\s*"
)
_HINT = "for example 'p99>+5%,throughput<-3%,errors>+0.1%'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A change that is not allowed.

    Attributes:
        text: as it was written.
        figure: one of FIGURES.
        bound: the change, as a share; of errors the difference of the shares.
        is_above: whether changes above the bound fail, or those below it.
    """

    text: str
    figure: str
    bound: float
    is_above: bool

    def is_beyond(self, difference: Difference) -> bool:
        """Whether a change is beyond the bound, be it noise or not."""
        change = difference.change
        return change > self.bound if self.is_above else change < self.bound


def parse_conditions(text: str) -> tuple[Condition, ...]:
    """Read conditions, separated by commas.

    Raises:
        SpecError: one of them cannot be read.
    """
    return tuple(_condition(part) for part in text.split(","))


def _condition(text: str) -> Condition:
    match = _TERM.fullmatch(text)
    if match is None:
        raise SpecError(f"condition {text!r} cannot be read", hint=_HINT)
    figure = match["figure"]
    if figure not in FIGURES:
        raise SpecError(
            f"condition {text!r}: no such figure", hint=did_you_mean(figure, FIGURES)
        )
    bound, is_above = float(match["bound"]) / 100, match["sign"] == ">"
    if (bound < 0) if is_above else (bound > 0):
        raise SpecError(
            f"condition {text!r}: a figure that did not change meets it",
            hint="give the change: 'throughput<-10%' fails a loss of more than 10 %",
        )
    return Condition(text=text.strip(), figure=figure, bound=bound, is_above=is_above)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How one load stands to one condition.

    Attributes:
        load: the load in words.
        condition: the text of the condition.
        failure: why the load fails it; empty if it does not.
    """

    load: str
    condition: str
    failure: str


def judge(
    comparison: Comparison, conditions: tuple[Condition, ...]
) -> tuple[Judgement, ...]:
    """Hold every load against every condition.

    A gate that cannot see is not green: a load or figure that is missing after the
    change fails, and so does a change beyond the bound whose noise is not known.
    """
    found = [
        Judgement(
            load=load.load,
            condition=condition.text,
            failure=_failure(condition, load.differences),
        )
        for load in comparison.loads
        for condition in conditions
    ]
    return (
        *found,
        *(
            Judgement(
                load=load,
                condition=condition.text,
                failure=f"{comparison.after} has no complete run of this load",
            )
            for load in comparison.only_before
            for condition in conditions
        ),
    )


def _failure(condition: Condition, differences: tuple[Difference, ...]) -> str:
    difference = next((d for d in differences if d.figure == condition.figure), None)
    if difference is None:
        return f"{condition.figure} is not in both results"
    is_time = condition.figure not in (*RATES, ERRORS)
    if is_time and not min(difference.before, difference.after):
        return f"{condition.figure} is 0 in a run: no response was measured"
    if not condition.is_beyond(difference):
        return ""
    words = f"{condition.figure} changed by {percent(difference.change)}"
    if difference.interval is None:
        return f"{words}; how much of it is noise is not known (perf --repeat 5)"
    return words if difference.interval.excludes_zero else ""


def percent(share: float) -> str:
    """Return a change as a person reads it, such as `+3.2 %`."""
    if abs(share) < 10:
        return f"{100 * share:+.1f} %"
    return f"{100 * share:+,.0f} %" if abs(share) < 1e4 else f"{100 * share:+.1e} %"
