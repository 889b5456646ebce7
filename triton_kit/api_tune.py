"""The public Python function that tunes a model.

As in `api`: paths are `str` or `PathLike`; a function returns a result or raises a
TritonKitError, and prints nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from triton_kit.loadtest.results.slo import parse_slo
from triton_kit.tuning.at_once import TrialsAtOnce
from triton_kit.tuning.budget import parse_budget
from triton_kit.tuning.objective import parse_objective
from triton_kit.tuning.progress import TunePhase
from triton_kit.tuning.result import TuneResult
from triton_kit.tuning.spec import TuneSpec
from triton_kit.tuning.tune import TuneProgress
from triton_kit.tuning.tune import tune as run_search


def tune(
    model: str | TuneSpec,
    repository: str | os.PathLike[str] | None = None,
    *,
    url: str | None = None,
    objective: str = "throughput",
    slo: str | None = None,
    space: Sequence[str] = (),
    budget: str = "10m",
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    project: str | os.PathLike[str] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    input_data: str | os.PathLike[str] = "random",
    at_once: TrialsAtOnce | None = None,
    on_progress: Callable[[TuneProgress], None] | None = None,
    on_phase: Callable[[TunePhase], None] | None = None,
) -> TuneResult:
    """Find the settings with which a model serves best, and prove the gain.

    Args:
        model: the name of a model or pipeline; or a TuneSpec, which stands alone.
        repository: where its files are; None with a server that has it loaded.
        url: HOST:PORT of a server with explicit model control; None: the embedded one.
        objective: `throughput`, `p99`, or weights: `throughput=0.7,p95=0.3`.
        slo: what the best settings must keep, such as `p99<20ms,errors<0.1%`.
        space: fields to try, such as `instances=1,2,4`; empty: the usual ones.
        budget: time or trials: `10m`, `trials=60`.
        output: folder of the results; None: `tune-MODEL`.
        resume: go on with the search in that folder.
        project: the folder of triton-kit.yaml, for `precision` in the space.
        shapes: of inputs that vary, without the batch axis.
        input_data: `random`, `zero`, or a file or folder of inputs.
        at_once: trials at the same time; None: one after the other, on all cores.
        on_progress: called after each trial.
        on_phase: called as each phase begins.
    """
    if not isinstance(model, TuneSpec):
        model = TuneSpec(
            model=model,
            **_folders(repository=repository, project=project),
            url=url,
            **_goal(objective, slo, budget, space),
            output=Path(output or f"tune-{model}"),
            resume=resume,
            shapes={name: tuple(shape) for name, shape in (shapes or {}).items()},
            input_data=(os.fspath(input_data),),
            at_once=at_once,
        )
    return run_search(model, on_progress, on_phase=on_phase)


def _folders(**given: str | os.PathLike[str] | None) -> dict[str, Any]:
    """Return the folders of a TuneSpec; None stays None."""
    return {n: None if path is None else Path(path) for n, path in given.items()}


def _goal(
    objective: str, slo: str | None, budget: str, space: Sequence[str]
) -> dict[str, Any]:
    """Return the fields of a TuneSpec that have a language of their own."""
    return {
        "objective": parse_objective(objective),
        "slo": parse_slo(slo) if slo else (),
        "budget": parse_budget(budget),
        "space": tuple(space),
    }
