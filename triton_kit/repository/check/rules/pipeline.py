"""An ensemble against the models of its steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from triton_kit.errors import did_you_mean
from triton_kit.repository.check.rules.case import Case, Problem, Problems
from triton_kit.repository.check.rules.outcome import Outcome
from triton_kit.repository.check.rules.wiring import check_wiring
from triton_kit.repository.config.places import Step


def check_steps(
    case: Case, outcomes: Mapping[str, Outcome | None], models: Iterable[str]
) -> Problems:
    """E15 to E23 and E25: the models are there, loaded, and fit.

    Args:
        case: an ensemble.
        outcomes: what became of each step's model; None where there is no such model.
        models: the names of all models, for the hint.
    """
    missing = list(_missing(case, outcomes, models))
    yield from missing
    if missing:
        return
    known = {name: outcome for name, outcome in outcomes.items() if outcome}
    unloaded = list(_unloaded(case, known))
    yield from unloaded
    if not unloaded:
        yield from check_wiring(case, known)


def _steps(case: Case) -> list[tuple[tuple[Step, ...], str, int]]:
    return [
        (("ensemble_scheduling", "step", i), step.model_name, step.model_version)
        for i, step in enumerate(case.config.ensemble_scheduling.step)
    ]


def _missing(
    case: Case, outcomes: Mapping[str, Outcome | None], models: Iterable[str]
) -> Problems:
    for at, name, _ in _steps(case):
        outcome = outcomes.get(name)
        text = (
            f"ensemble {case.name} contains models that are not available or "
            f"ambiguous: {name}"
        )
        if outcome is None:
            hint = did_you_mean(name, [n for n in models if n != case.folder.name])
            yield Problem("E15", text, at=(*at, "model_name"), hint=hint)
        elif outcome.case is None:
            yield Problem(
                "E23",
                text,
                at=(*at, "model_name"),
                message=f"the step's model {name!r} cannot be loaded itself",
                hint=f"see the findings of {name!r}",
            )


def _unloaded(case: Case, outcomes: Mapping[str, Outcome]) -> Problems:
    for at, name, version in _steps(case):
        outcome = outcomes[name]
        at_name = (*at, "model_name")
        hint = f"see the findings of {name!r}"
        if outcome.reason is not None:
            ending = "has no loaded version" if outcome.is_valid else "is not valid"
            yield Problem(
                "E23",
                f"ensemble '{case.name}' depends on '{name}' which {ending}.",
                at=at_name,
                message=f"the step's model {name!r} cannot be loaded itself",
                hint=hint,
            )
        elif version != -1 and version not in _versions(outcome):
            there = ", ".join(str(v) for v in sorted(_versions(outcome)))
            yield Problem(
                "E22",
                f"ensemble '{case.name}' depends on '{name}' whose required version "
                f"{version} is not loaded.",
                at=(*at, "model_version"),
                hint=f"{name!r} serves version {there}; -1 means the newest",
            )


def _versions(outcome: Outcome) -> tuple[int, ...]:
    return outcome.case.versions if outcome.case else ()


def circle(start: str, steps: Mapping[str, tuple[str, ...]]) -> list[str] | None:
    """Return the ensembles on a way from `start` back to itself; None if there is none.

    Args:
        start: an ensemble.
        steps: ensemble -> the models of its steps.
    """
    ways: list[list[str]] = [[start]]
    seen = set()
    while ways:
        way = ways.pop()
        for name in steps.get(way[-1], ()):
            if name == start:
                return way
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return None


def entangled(steps: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    """Return the ensembles that lead into a circle of ensembles, or are part of one."""
    open_steps = {name: {s for s in used if s in steps} for name, used in steps.items()}
    users: dict[str, list[str]] = {name: [] for name in steps}
    for name, used in open_steps.items():
        for step in used:
            users[step].append(name)
    free = [name for name, used in open_steps.items() if not used]
    while free:
        done = free.pop()
        for user in users[done]:
            open_steps[user].discard(done)
            if not open_steps[user]:
                free.append(user)
    return frozenset(name for name, used in open_steps.items() if used)


def check_circle(name: str, steps: Mapping[str, tuple[str, ...]]) -> Problems:
    """E24, E27: no ensemble is a step of itself, directly or not.

    Args:
        name: an entangled ensemble.
        steps: the steps of all entangled ensembles.
    """
    way = circle(name, steps)
    at = ("ensemble_scheduling",)
    if way is not None:
        yield Problem(
            "E24",
            f"circular dependency between ensembles: {name} -> ... -> {way[-1]} -> "
            f"{name}",
            at=at,
            hint=" -> ".join([*way, name]),
        )
        return
    step = next(step for step in steps[name] if step in steps)
    yield Problem(
        "E27",
        at=at,
        message=f"the server aborts: step {step!r} leads into a circle of ensembles",
        hint=f"see the findings of {step!r}",
    )
