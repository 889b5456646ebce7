"""A comparison as text, Markdown, JSON, and JUnit's XML."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from xml.etree import ElementTree

from triton_kit.comparison.conditions import Judgement, percent
from triton_kit.comparison.differences import (
    Comparison,
    Difference,
    LoadDifferences,
)
from triton_kit.comparison.figures import ERRORS, RATES

_US_PER_MS = 1e3
_HEAD = ("", "before", "after", "change", "interval", "")

Render = Callable[[Comparison, Sequence[Judgement]], str]


def text_report(comparison: Comparison, judgements: Sequence[Judgement]) -> str:
    """Return a table per load, and what follows from all of them."""
    parts = [_table(load) for load in comparison.loads]
    return "\n\n".join([*parts, "\n".join(_remarks(comparison, judgements))])


def markdown_report(comparison: Comparison, judgements: Sequence[Judgement]) -> str:
    """Return the same for a pull request."""
    lines = []
    for load in comparison.loads:
        lines += [f"**{load.load}** ({_runs(load)})", ""]
        lines += ["| " + " | ".join(_HEAD) + " |", "|---|--:|--:|--:|--:|---|"]
        lines += ["| " + " | ".join(_row(d)) + " |" for d in load.differences]
        lines.append("")
    lines += [f"* {remark}" for remark in _remarks(comparison, judgements)]
    return "\n".join(lines)


def json_report(comparison: Comparison, judgements: Sequence[Judgement]) -> str:
    """Return the comparison as JSON, with how each load stands to each condition."""
    judged = [
        {"load": j.load, "condition": j.condition, "failure": j.failure or None}
        for j in judgements
    ]
    return json.dumps(comparison.as_json() | {"conditions": judged}, indent=2)


def junit_report(comparison: Comparison, judgements: Sequence[Judgement]) -> str:
    """Return a test case per load and condition, as CI services read them."""
    failed = sum(bool(j.failure) for j in judgements)
    suite = ElementTree.Element(
        "testsuite",
        name=f"{comparison.before} to {comparison.after}",
        tests=str(len(judgements)),
        failures=str(failed),
    )
    for judgement in judgements:
        case = ElementTree.SubElement(
            suite, "testcase", classname=judgement.load, name=judgement.condition
        )
        if judgement.failure:
            ElementTree.SubElement(case, "failure", message=judgement.failure)
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def _table(load: LoadDifferences) -> str:
    rows = [_HEAD, *map(_row, load.differences)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{load.load} ({_runs(load)})"]
    for row in rows:
        name, *numbers, outcome = row
        cells = [
            name.ljust(widths[0]),
            *(n.rjust(w) for n, w in zip(numbers, widths[1:], strict=False)),
        ]
        lines.append(f"  {'  '.join(cells)}  {outcome}".rstrip())
    return "\n".join(lines)


def _runs(load: LoadDifferences) -> str:
    before, after = load.runs
    return "one run each" if before == after == 1 else f"{before} and {after} runs"


def _row(difference: Difference) -> tuple[str, ...]:
    interval = difference.interval
    return (
        difference.figure,
        _value(difference.figure, difference.before),
        _value(difference.figure, difference.after),
        percent(difference.change),
        f"{percent(interval.low)} to {percent(interval.high)}" if interval else "-",
        difference.outcome,
    )


def _value(figure: str, value: float) -> str:
    if figure == ERRORS:
        return f"{100 * value:.3g} %"
    if figure in RATES:
        return f"{value:,.1f}/s"
    return f"{value / _US_PER_MS:,.3f} ms"


def _remarks(comparison: Comparison, judgements: Sequence[Judgement]) -> list[str]:
    changed = [
        f"{difference.figure} {difference.outcome} by {percent(difference.change)}"
        f" ({load.load})"
        for load in comparison.loads
        for difference in load.differences
        if difference.outcome in ("better", "worse")
    ]
    lines = [
        f"{'; '.join(changed) or 'no difference found'}; with "
        f"{100 * comparison.confidence:.10g} % confidence for all figures at once"
    ]
    lines += [
        f"not known whether the change is noise: {figures} ({load.load})"
        for load in comparison.loads
        if (figures := ", ".join(_unknown(load)))
    ]
    if any(min(load.runs) == 1 for load in comparison.loads):
        lines.append(
            "one run cannot show how much runs differ: 3 % is assumed, 20 % of p90 and "
            "above. perf --repeat 5 measures it, and finds smaller changes"
        )
    lines += [
        f"{load.load}: a run was {', '.join(load.unstable)}"
        for load in comparison.loads
        if load.unstable
    ]
    lines += [f"not alike: {fact}" for fact in comparison.unlike]
    for path, loads in (
        (comparison.before, comparison.only_before),
        (comparison.after, comparison.only_after),
    ):
        lines += [f"only in {path}: {load}" for load in loads]
    lines += [
        f"FAILED {judgement.condition}: {judgement.load}: {judgement.failure}"
        for judgement in judgements
        if judgement.failure
    ]
    return lines


def _unknown(load: LoadDifferences) -> list[str]:
    return [d.figure for d in load.differences if d.outcome == "not known"]


FORMATS: dict[str, Render] = {
    "text": text_report,
    "json": json_report,
    "markdown": markdown_report,
    "junit": junit_report,
}
