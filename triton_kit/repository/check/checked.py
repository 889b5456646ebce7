"""All models of one server: names that are unique, ensembles after their steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from triton_kit.repository.check.embedded import unsupported_features
from triton_kit.repository.check.examine import Examined
from triton_kit.repository.check.rules.calls import check_calls
from triton_kit.repository.check.rules.case import Problem
from triton_kit.repository.check.rules.outcome import Outcome
from triton_kit.repository.check.rules.pipeline import (
    check_circle,
    check_steps,
    entangled,
)
from triton_kit.repository.check.rules.wiring import is_decoupled


def unique_keys(folders: Iterable[Path]) -> dict[str, Path]:
    """Return model folders by a key: the name, or the path where a name is repeated."""
    folders = list(folders)
    times = Counter(folder.name for folder in folders)
    return {
        folder.name if times[folder.name] == 1 else str(folder): folder
        for folder in folders
    }


class Checked:
    """The models of a server; ensembles are finished after their steps.

    Models are known by a key: the name, or the path where two repositories have it.
    """

    def __init__(self, models: dict[str, Examined], *, namespacing: bool) -> None:
        self.models = models
        self.outcomes: dict[str, Outcome] = {}
        self._keys: dict[str, list[str]] = {}
        for key, examined in models.items():
            self._keys.setdefault(examined.folder.name, []).append(key)
        self._namespacing = namespacing
        if not namespacing:
            self._refuse_repeated_names()
        self._steps = {
            key: tuple(
                self._resolve(key, step.model_name)
                for step in examined.case.config.ensemble_scheduling.step
            )
            for key, examined in models.items()
            if examined.case is not None
            and examined.is_polled
            and examined.case.is_ensemble
        }
        tangle = entangled(self._steps)
        self._tangle = {key: self._steps[key] for key in tangle}

    def _refuse_repeated_names(self) -> None:
        """U1: the server loads no model whose name two repositories have."""
        for name, keys in self._keys.items():
            for key in keys if len(keys) > 1 else ():
                examined = self.models[key]
                others = [str(self.models[k].folder.path) for k in keys if k != key]
                problem = Problem(
                    "U1",
                    f"failed to poll model '{name}': not unique across all model "
                    "repositories",
                    message=f"{name!r} is also in {', '.join(others)}: the server "
                    "loads neither",
                    hint="rename one, or start the server with --model-namespacing",
                    file=examined.folder.path,
                )
                examined.add_first([problem])
                examined.is_polled = False

    def _resolve(self, key: str, name: str) -> str:
        """Return the key of an ensemble's step: its own repository comes first."""
        keys = self._keys.get(name, [])
        if len(keys) < 2:
            return keys[0] if keys else name
        own = self.models[key].folder.path.parent
        if self._namespacing:
            for other in keys:
                if self.models[other].folder.path.parent == own:
                    return other
        return name  # ambiguous: no key

    def finish_all(self) -> None:
        """Check every ensemble against its steps; note what became of each model."""
        for key in self.models:
            self._finish(key)

    def _finish(self, key: str) -> None:
        # A stack of its own: a chain of ensembles may be longer than Python's.
        waiting = [key]
        while waiting:
            last = waiting[-1]
            open_step = None if last in self._tangle else self._open_step(last)
            if open_step is not None:
                waiting.append(open_step)
                continue
            waiting.pop()
            if last not in self.outcomes:
                self._finish_one(last)

    def _open_step(self, key: str) -> str | None:
        steps = self._steps.get(key, ())
        return next(
            (s for s in steps if s in self.models and s not in self.outcomes), None
        )

    def _finish_one(self, key: str) -> None:
        examined = self.models[key]
        case, misfits = examined.case, []
        known: dict[str, Outcome | None] = {}
        if case is not None and key in self._steps:
            steps = case.config.ensemble_scheduling.step
            known = {
                step.model_name: self.outcomes.get(step_key)
                for step, step_key in zip(steps, self._steps[key], strict=True)
            }
        if case is not None and key in self._tangle:
            misfits = list(check_circle(key, self._tangle))
        elif case is not None and key in self._steps:
            misfits = list(check_steps(case, known, self._keys))
        examined.add_first(misfits)
        if case is not None:
            examined.problems += check_calls(case, self._keys)
        outcome = self._outcome(examined, is_valid=not misfits)
        if outcome.case is not None and outcome.case.is_ensemble:
            loaded = {name: one for name, one in known.items() if one is not None}
            outcome.is_decoupled = is_decoupled(outcome.case, loaded)
        self.outcomes[key] = outcome

    def _outcome(self, examined: Examined, *, is_valid: bool) -> Outcome:
        reason = examined.refusal
        if not examined.is_polled or examined.case is None:
            return Outcome(reason=reason)
        case = examined.case
        return Outcome(
            case=case,
            reason=reason,
            is_valid=is_valid,
            is_decoupled=bool(case.config.model_transaction_policy.decoupled),
            knows_tensors=examined.knows_tensors,
        )

    def embedded_lacks(self) -> dict[str, tuple[str, ...]]:
        """Return by model name what it, or a step of it, uses beyond that server."""
        found: dict[str, tuple[str, ...]] = {}
        for key in self.outcomes:  # steps are before their ensembles
            examined = self.models[key]
            if examined.case is None:
                continue
            features = [f for _, f in unsupported_features(examined.case.config)]
            for step in self._steps.get(key, ()):
                more = found.get(step.rpartition("/")[2], ())
                features += [f for f in more if f not in features]
            if features:
                found[examined.folder.name] = tuple(features)
        return found
