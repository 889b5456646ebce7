"""A result of tune becomes a section: the verdict, the trials, what to change."""

from __future__ import annotations

import difflib
import math
from itertools import accumulate
from typing import Any  # JSON

import yaml

from triton_kit.report.document import (
    Block,
    Chart,
    Section,
    Series,
    Table,
    Value,
)
from triton_kit.report.views import TrialView, TuneView

_UNITS = {
    "throughput": "throughput (inferences/s)",
    "efficiency": "efficiency (inferences per CPU second)",
    "memory": "memory (MiB)",
}
_TIMES = ("mean", "p50", "p90", "p95", "p99")


def tune_section(name: str, view: TuneView) -> tuple[Section, str]:
    """Return the section of a search, and its sentence for the summary.

    `name` tells several searches apart; it is empty if there is one.
    """
    goal = ", ".join(map(str, view.inputs.get("slo") or ()))
    lines = [
        f"Objective: {view.inputs.get('objective')}"
        + (f"; it must keep {goal}." if goal else "."),
        f"{len(view.trials)} trials in {_minutes(view)}.",
        *([f"{view.why[:1].upper()}{view.why[1:]}."] if view.why else []),
    ]
    charts = [make(view) for make in (_over_time, _trade_off)]
    section = Section(
        title=f"Tuning of {view.model}" + (f" ({name})" if name else ""),
        lines=tuple(lines),
        parts=(
            *(chart for chart in charts if chart),
            *_figures(view),
            *_change(view),
            _trials(view),
        ),
    )
    return section, f"{view.model}: {view.verdict}."


def _minutes(view: TuneView) -> str:
    seconds = sum(trial.cost_s for trial in view.trials)
    return f"{seconds / 60:.1f} minutes" if seconds >= 120 else f"{seconds:.0f} s"


def _objective(view: TuneView) -> str:
    """Return the figure to draw: the objective, or the throughput of a weighted one."""
    words = str(view.inputs.get("objective") or "").split("=")[0].split(",")[0]
    names = {name for trial in view.trials for name in trial.figures}
    name = {"latency": "p95"}.get(words, words)
    return name if name in names else "throughput"


def _unit(figure: str) -> str:
    if figure in _TIMES:
        return f"{figure} latency (ms)"
    name = _UNITS.get(figure, figure)
    return name[:1].upper() + name[1:]


def _value(trial: TrialView, figure: str) -> float | None:
    value = trial.figures.get(figure)
    if value is None or trial.failure:
        return None
    return value / _scale(figure)


def _scale(figure: str) -> float:
    """Return how many of a result's units the shown unit has."""
    return 1e3 if figure in _TIMES else 2.0**20 if figure == "memory" else 1.0


def _over_time(view: TuneView) -> Chart | None:
    figure = _objective(view)
    ends = list(accumulate(trial.cost_s for trial in view.trials))
    rows = [
        (end, t, _value(t, figure)) for end, t in zip(ends, view.trials, strict=True)
    ]
    kept = [row for row in rows if row[2] is not None]
    if not kept:
        return None
    series = []
    for stage in dict.fromkeys(trial.stage for _, trial, _ in kept):
        points = [row for row in kept if row[1].stage == stage]
        series.append(
            Series(
                name=stage,
                x=[end for end, _, _ in points],
                y=[value for _, _, value in points],
                kind="points",
                labels=[_settings(trial.settings) for _, trial, _ in points],
            )
        )
    best = _best_so_far([value for _, _, value in kept], is_less=figure in _TIMES)
    series.append(
        Series(
            name="best so far", x=[end for end, _, _ in kept], y=best, is_dashed=True
        )
    )
    return Chart(
        title="Trials over time",
        says=f"Each point is a trial; {'lower' if figure in _TIMES else 'higher'} is "
        "better.",
        x_title="Seconds since the search began",
        y_title=_unit(figure),
        series=tuple(series),
    )


def _best_so_far(values: list[float | None], *, is_less: bool) -> list[float | None]:
    better = min if is_less else max
    known = [value if value is not None else math.nan for value in values]
    return list(accumulate(known, lambda a, b: better(a, b)))


def _trade_off(view: TuneView) -> Chart | None:
    kept = [
        t
        for t in view.trials
        if not t.failure and {"throughput", "p99"} <= {*t.figures}
    ]
    if len(kept) < 2:
        return None
    best = [t for t in kept if t.settings == view.best]
    default = [t for t in kept if t.settings == view.baseline and t not in best]
    others = [t for t in kept if t not in best and t not in default]
    won = "default, the best" if view.best == view.baseline else "best"
    groups = (("other settings", others), ("default", default), (won, best))
    return Chart(
        title="Throughput against latency of the trials",
        says="Further right and lower is better; stars are trials of the best "
        "settings.",
        x_title="Throughput (inferences/s)",
        y_title="p99 latency (ms)",
        series=tuple(
            Series(
                name=name,
                x=[t.figures["throughput"] for t in trials],
                y=[t.figures["p99"] / 1e3 for t in trials],
                kind="points",
                labels=[_settings(t.settings) for t in trials],
                is_star=name == won,
            )
            for name, trials in groups
            if trials
        ),
    )


def _figures(view: TuneView) -> list[Table]:
    before, after = view.figures.get("baseline", {}), view.figures.get("best", {})
    rows = []
    for name in before:
        scale = _scale(name)
        pair = before[name] / scale, after[name] / scale if name in after else None
        title = f"{name} (ms)" if name in _TIMES else _UNITS.get(name, name)
        gain = (
            100 * (pair[1] / pair[0] - 1) if pair[1] is not None and pair[0] else None
        )
        rows.append((title, *pair, gain))
    columns = ("Figure", "Default", "Best", "Change (%)")
    title = "Default and best settings"
    return [Table(title=title, columns=columns, rows=tuple(rows))] if rows else []


def _change(view: TuneView) -> list[Block]:
    """Return the settings that differ, and what to write into triton-kit.yaml."""
    if not view.changes:
        return []
    before, after = (
        [f"{name}: {_shown(settings.get(name))}" for name in settings]
        for settings in (view.baseline, view.best)
    )
    lines = list(difflib.unified_diff(before, after, lineterm="", n=99))[3:]
    blocks = [Block(title="What changes", text="\n".join(lines), is_diff=True)]
    if view.patch:
        text = yaml.safe_dump(view.patch, sort_keys=False).rstrip()
        blocks.append(Block(title="For triton-kit.yaml", text=text))
    return blocks


def _trials(view: TuneView) -> Table:
    fields = list(
        dict.fromkeys(name for trial in view.trials for name in trial.settings)
    )
    rows: list[tuple[Value, ...]] = []
    for number, trial in enumerate(view.trials, 1):
        settings = [_shown(trial.settings.get(name)) for name in fields]
        figures = [_value(trial, name) for name in ("throughput", "p50", "p99")]
        limit = (trial.bottleneck or {}).get("kind", "")
        why = trial.failure or limit
        rows.append((float(number), trial.stage, *settings, *figures, str(why)))
    head = ("Number", "Stage", *fields)
    tail = ("Throughput (/s)", "p50 (ms)", "p99 (ms)", "Limit or failure")
    return Table(title="All trials", columns=(*head, *tail), rows=tuple(rows))


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name}={_shown(value)}" for name, value in settings.items())


def _shown(value: object) -> str:
    if value is None:
        return "off"
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    return str(value)
