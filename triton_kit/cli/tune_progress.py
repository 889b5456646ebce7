"""What `triton-kit tune` shows: phases, trials as they end, a plan, the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from triton_kit.cli.output import console, notice, settings

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from triton_kit.tuning.evidence import Ask
    from triton_kit.tuning.progress import OnPhase, TunePhase
    from triton_kit.tuning.result import TuneResult
    from triton_kit.tuning.trial import TuneTrial
    from triton_kit.tuning.tune import Plan, TuneProgress

_BARS = "▁▂▃▄▅▆▇█"
_SHOWN = 12  # trials of the live table
_SPARKS = 48


@dataclass(frozen=True, slots=True)
class Screen:
    """What a search calls, as `tune` takes it; None: nothing is shown."""

    on_phase: OnPhase | None = None
    on_progress: Callable[[TuneProgress], None] | None = None


@contextmanager
def showing_search() -> Iterator[Screen]:
    """Yield what shows a search on standard error; `-q` silences it.

    On a terminal that is a table which is drawn anew; elsewhere a line for each phase
    and trial.
    """
    screen = console(stderr=True)
    if settings.quiet:
        yield Screen()
    elif not screen.is_terminal:
        log = _Log()
        yield Screen(log.phase, lambda progress: notice(trial_line(progress)))
    else:
        from rich.live import Live

        # To draw between the trials would take time from the load that is measured.
        with Live(console=screen, auto_refresh=False, transient=True) as live:
            table = _Table(live)
            yield Screen(table.phase, table.trial)


class _Log:
    """A line for each phase; after a conversion its phase is not said again."""

    def __init__(self) -> None:
        self._phase: TunePhase | None = None

    def phase(self, phase: TunePhase) -> None:
        if phase != self._phase:
            notice(phase.text)
        if phase.name != "convert":
            self._phase = phase


class _Table:
    """The live table and the phase below it."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._phase: TunePhase | None = None
        self._progress: TuneProgress | None = None

    def phase(self, phase: TunePhase) -> None:
        self._phase = phase
        self._draw()

    def trial(self, progress: TuneProgress) -> None:
        self._progress = progress
        self._draw()

    def _draw(self) -> None:
        self._live.update(live_view(self._progress, self._phase), refresh=True)


def trial_line(progress: TuneProgress) -> str:
    """Return one line about the last trial, for a log."""
    ask, trial = progress.trials[-1]
    number = len(progress.trials)
    total = number + progress.left
    return (
        f"{number} of at most {total}, {ask.stage}: {_settings(progress, ask)}: "
        f"{_figures(trial)}; at most {progress.left_s:.0f} s left"
    )


def live_view(
    progress: TuneProgress | None, phase: TunePhase | None = None
) -> RenderableType:
    """Return the trials, as far as there are any, and what the search does now."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [] if progress is None else [*_trials_view(progress)]
    if phase is not None:
        parts.append(Text(f"{phase.text} ...", style="cyan"))
    return Group(*parts)


def _trials_view(progress: TuneProgress) -> Iterator[RenderableType]:
    """Yield the last trials as a table, the best one, a sparkline, the time left."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1))
    for title in ("trial", "stage", "settings", "figures"):
        table.add_column(title, overflow="fold")
    first = max(0, len(progress.trials) - _SHOWN)
    for number, (ask, trial) in enumerate(progress.trials[first:], first + 1):
        table.add_row(
            *map(
                Text,
                (str(number), ask.stage, _settings(progress, ask), _figures(trial)),
            )
        )
    ask, trial = max(progress.trials, key=lambda pair: _rank(pair[1]))
    best = f"best so far: {_settings(progress, ask)}: {_figures(trial)}"
    left = f"{len(progress.trials)} trials; at most {progress.left_s:.0f} s left"
    values = [trial.value for _, trial in progress.trials]
    yield from (table, Text(best, style="bold"), Text(f"{sparkline(values)}  {left}"))


def sparkline(values: list[float]) -> str:
    """Return the last values as bars; a failed trial is a space."""
    last = values[-_SPARKS:]
    most = max(last, default=0.0)
    return "".join(
        _BARS[min(len(_BARS) - 1, int(value / most * len(_BARS)))] if value else " "
        for value in last
    )


def _rank(trial: TuneTrial) -> tuple[bool, float, float]:
    missed = sum(max(0.0, margin) for margin in trial.margins)
    return not trial.failure, -missed, trial.value


def _settings(progress: TuneProgress, ask: Ask) -> str:
    from triton_kit.tuning.result import settings_text

    varied = {
        field.name: value
        for field, value in zip(progress.space.fields, ask.point, strict=True)
        if len(field.values) > 1
    }
    return settings_text(varied)


def _figures(trial: TuneTrial) -> str:
    from triton_kit.loadtest.results.units import duration, rate

    if trial.failure:
        return f"failed: {trial.failure[:120]}"
    figures = trial.figures
    missed = ", misses the SLO" if any(m > 0 for m in trial.margins) else ""
    return (
        f"{rate(figures['throughput'])}/s, p50 {duration(figures['p50'] * 1e3)}, "
        f"p99 {duration(figures['p99'] * 1e3)}{missed}"
    )


def plan_text(plan: Plan) -> str:
    """Return what would be tried, for a person."""
    from triton_kit.tuning.result import shown

    width = max(len(field.name) for field in plan.space.fields)
    at_once = f", {plan.at_once} at once" if plan.at_once > 1 else ""
    lines = [
        f"  {field.name.ljust(width)}  {', '.join(map(shown, field.values))}"
        f"  (now {shown(field.default)})"
        for field in plan.space.fields
        if len(field.values) > 1 or not field.is_load
    ]
    return "\n".join(
        [
            *lines,
            f"{plan.combinations:,} combinations, of which illegal ones are left out",
            f"at most {plan.trials} trials{at_once}, "
            f"about {plan.seconds / 60:.1f} minutes",
        ]
    )


def result_text(result: TuneResult) -> str:
    """Return the result, for a person."""
    from triton_kit.tuning.result import settings_text, shown

    lines = [f"{result.model}: {result.verdict}", f"why: {result.why}"]
    if (at_once := result.inputs["at once"]) is not None:
        cores, gpus = result.environment["cpus"], at_once["gpus_per_trial"]
        server = f"for a server with {cores} core{'s' if cores > 1 else ''}"
        with_gpus = f" and {gpus} GPU{'s' if gpus > 1 else ''}" if gpus else ""
        lines.append(server + with_gpus)
    if result.outcome == "nothing meets the SLO":
        lines.append(f"  closest: {settings_text(result.best)}")
    for name, (before, after) in result.changes.items():
        lines.append(f"  {name}: {shown(before)} -> {shown(after)}")
    decision = result.decision
    for title, point in (("default", decision.baseline), ("best", decision.best)):
        if title == "best" and point == decision.baseline:
            continue
        lines.append(f"  {title.ljust(7)}  {_row(result.figures(point))}")
    return "\n".join(lines)


def _row(figures: dict[str, float]) -> str:
    from triton_kit.loadtest.results.units import duration, rate

    if not figures:
        return "not measured"
    times = ", ".join(
        f"{name} {duration(figures[name] * 1e3)}" for name in ("p50", "p95", "p99")
    )
    return f"{rate(figures['throughput'])} infer/s, {times}"
