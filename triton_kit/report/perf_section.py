"""Results of perf become a section: a sentence, charts, the table, how to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import mean
from typing import Any  # JSON

from triton_kit.report.document import Block, Section, Table, Value, shown
from triton_kit.report.perf_charts import perf_charts
from triton_kit.report.perf_rows import Row, Rows, gather
from triton_kit.report.result_files import Source
from triton_kit.report.views import PerfView

_WARNINGS_SHOWN = 5
_ENVIRONMENTS_SHOWN = 8
_COLUMNS = (
    *("Load", "Throughput (/s)", "p50 (ms)", "p90 (ms)", "p95 (ms)", "p99 (ms)"),
    *("mean (ms)", "max (ms)", "Requests", "Errors", "Verdict"),
)


def perf_sections(
    sources: Sequence[Source],
) -> tuple[tuple[Section, ...], tuple[str, ...], tuple[str, ...]]:
    """Return sections, sentences of the summary, and warnings."""
    rows = gather(sources)
    views = [source.view for source in sources if isinstance(source.view, PerfView)]
    tables = (_loads(rows), *_repeats(rows))
    sections = (
        Section(title="Load tests", lines=_lines(views), parts=perf_charts(rows)),
        Section(title="Loads", parts=tables),
        Section(title="How it was measured", parts=_conditions(sources)),
    )
    return sections, _summary(rows), _warnings(rows, views)


def _summary(rows: Rows) -> tuple[str, ...]:
    if not rows.rows:
        return ("No load was finished.",)
    if not rows.whole:
        failed = sum(row.run.errors for row in rows.rows)
        return (f"No request succeeded: all {shown(float(failed))} failed.",)
    goal = ", ".join(objective.text for objective in rows.objectives)
    best = rows.best
    if best is None:
        return (f"No load meets {goal or 'the objectives'}.",)
    figure = rows.percentile
    found = (
        f"{shown(best.run.throughput)} inferences/s at {figure} "
        f"{shown(best.ms(figure))} ms"
    )
    where = best.label
    if len(rows.rows) == 1:
        first = f"{found}, median {shown(best.ms('p50'))} ms"
    elif goal:
        first = f"Highest throughput that meets {goal}: {found}"
    else:
        first = f"Highest throughput: {found}"
    met = len([row for row in rows.rows if row.run.meets_slo])
    more = [f"Load: {where}."]
    if goal and len(rows.rows) > 1:
        more.append(f"{met} of {len(rows.rows)} loads meet {goal}.")
    return (f"{first}.", *more)


def _warnings(rows: Rows, views: Sequence[PerfView]) -> tuple[str, ...]:
    found = []
    if any(view.was_interrupted for view in views):
        found.append("The measurement was interrupted: its last load is not complete.")
    for row in rows.rows:
        if row.run.ended_early:
            found.append(f"{row.label} ended early: {row.run.ended_early}")
        kind = row.run.verdict.get("kind") or "stable"
        if kind != "stable":
            found.append(f"{row.label}: {kind}: {row.run.verdict.get('reason')}")
    more = len(found) - _WARNINGS_SHOWN
    remarks = "remark is" if more == 1 else "remarks are"
    rest = [f"{more} more {remarks} in the table of loads."] if more > 0 else []
    return (*found[:_WARNINGS_SHOWN], *rest)


def _lines(views: Sequence[PerfView]) -> tuple[str, ...]:
    models = {str(view.model.get("name", "")) for view in views}
    servers = {_server(view) for view in views}
    return (f"Model: {_few(models)}. Server: {_few(servers)}.",)


def _few(names: set[str]) -> str:
    kept = sorted(names - {""}) or ["not known"]
    more = len(kept) - 4
    return ", ".join(kept[:4]) + (f" and {more} more" if more > 0 else "")


def _server(view: PerfView) -> str:
    words = (view.server.get("name"), view.server.get("version"))
    return " ".join(str(word) for word in words if word)


def _loads(rows: Rows) -> Table:
    has_goal = any(row.run.slo for row in rows.rows)
    return Table(
        title="All loads",
        columns=(*_COLUMNS, *(["Objectives"] if has_goal else [])),
        rows=tuple(_cells(row, has_goal=has_goal) for row in rows.rows),
    )


def _cells(row: Row, *, has_goal: bool) -> tuple[Value, ...]:
    run = row.run
    latency = [row.ms(name) for name in ("p50", "p90", "p95", "p99", "mean", "max")]
    verdict = str(run.verdict.get("kind", ""))
    counts = float(run.requests), float(run.errors)
    kept = ("met" if run.meets_slo else "missed") if run.slo else ""
    goal = [kept] if has_goal else []
    return (row.label, run.throughput, *latency, *counts, verdict, *goal)


def _repeats(rows: Rows) -> list[Table]:
    """Return the spread of loads that were measured more than once."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows.whole:
        groups.setdefault((row.source, row.run.name), []).append(row)
    repeated = [group for group in groups.values() if len(group) > 1]
    if not repeated:
        return []
    columns = ("Load", "Rounds", "Mean (/s)", "Lowest (/s)", "Highest (/s)")
    return [
        Table(
            title="Rounds of each load",
            columns=(*columns, "p99, lowest (ms)", "p99, highest (ms)"),
            rows=tuple(map(_spread, repeated)),
        )
    ]


def _spread(group: list[Row]) -> tuple[Value, ...]:
    rates = [row.run.throughput for row in group]
    p99 = [row.ms("p99") or 0.0 for row in group]
    label = group[0].label.rsplit(", round ", 1)[0]
    ends = (min(rates), max(rates), min(p99), max(p99))
    return (label, float(len(group)), mean(rates), *ends)


def _conditions(sources: Sequence[Source]) -> tuple[Table | Block, ...]:
    perfs = [(s.name, s.view) for s in sources if isinstance(s.view, PerfView)]
    shown_ones = perfs[:_ENVIRONMENTS_SHOWN]
    facts = [_facts(view) for _, view in shown_ones]
    names = list(dict.fromkeys(name for each in facts for name in each))
    table = Table(
        title="Environment",
        columns=("What", *(name for name, _ in shown_ones)),
        rows=tuple((name, *(each.get(name, "") for each in facts)) for name in names),
    )
    commands = "\n".join(perf_command(view) for _, view in shown_ones)
    return (table, Block(title="The command that repeats it", text=commands))


def _facts(view: PerfView) -> dict[str, str]:
    spec = view.spec
    model = " ".join(str(view.model.get(k) or "") for k in ("name", "version"))
    stages = spec.get("measurement_interval_s")
    facts = {
        "model": model.strip(),
        "server": _server(view),
        "address": spec.get("url"),
        "protocol": spec.get("protocol"),
        "input data": spec.get("input_data"),
        "window (s)": stages,
        "seed": spec.get("seed"),
        **{key.replace("_", " "): value for key, value in view.environment.items()},
    }
    return {key: text for key, value in facts.items() if (text := _text(value))}


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return str(value)


def perf_command(view: PerfView) -> str:
    """Return a command line that sends the same loads.

    Values of headers and parameters are not in the result, as they may be secrets.
    """
    spec = view.spec
    words = ["triton-kit", "perf", "-m", str(spec.get("model") or "")]
    words += ["-u", str(spec.get("url") or ""), "-i", str(spec.get("protocol"))]
    batches = _batches(view)
    words += ["-b", batches] if batches != "1" else []
    words += _load_words(spec.get("loads") or ())
    words += _length_words(spec)
    words += ["--slo", ",".join(spec["slo"])] if spec.get("slo") else []
    data = spec.get("input_data")
    for each in [data] if isinstance(data, str) else data or ():
        words += ["--input-data", str(each)] if each != "random" else []
    for name, shape in (spec.get("shapes") or {}).items():
        words += ["--shape", f"{name}:{','.join(map(str, shape))}"]
    words += ["--seed", str(spec["seed"])] if spec.get("seed") else []
    return shlex.join(words)


def _length_words(spec: Mapping[str, Any]) -> list[str]:
    """Return how long to warm up, how long to measure, and how often."""
    rule = spec.get("stability") or {}
    window_s = spec.get("measurement_interval_s") or rule.get("window_s")
    tolerance, repeats = rule.get("tolerance"), spec.get("repeats") or 1
    warm_up = spec.get("warm_up_requests")
    given = {
        "--request-count": spec.get("request_count"),
        "-p": None if spec.get("request_count") or not window_s else 1000 * window_s,
        "-s": None if tolerance is None else 100 * tolerance,
        "-r": rule.get("most_windows"),
        "--measurement-request-count": rule.get("window_requests"),
        "--percentile": rule.get("percentile"),
        "--warmup-request-count": warm_up,
        "--warm-up": None if warm_up else spec.get("warm_up_s"),
        "--repeat": repeats if repeats > 1 else None,
    }
    known = {option: value for option, value in given.items() if value is not None}
    return [word for name, value in known.items() for word in (name, f"{value:g}")]


def _batches(view: PerfView) -> str:
    sizes = dict.fromkeys(run.batch_size for run in view.runs if run.batch_size)
    return ",".join(map(str, sizes)) or str(view.spec.get("batch_size") or 1)


def _load_words(loads: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the options of loads that are evenly spaced; else of each of them."""
    for key, option in (
        ("concurrency", "--concurrency-range"),
        ("rate", "--request-rate-range"),
    ):
        values = [load[key] for load in loads if key in load]
        if values and len(values) == len(loads):
            return [option, _range(values)]
    return []


def _range(values: Sequence[float]) -> str:
    steps = {round(b - a, 6) for a, b in pairwise(values)}
    if not steps:
        return f"{values[0]:g}"
    if len(steps) == 1:
        return f"{values[0]:g}:{values[-1]:g}:{steps.pop():g}"
    return f"{values[0]:g}:{values[-1]:g}"
