"""`--parallel` and its companions: trials of `tune` at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any  # Any: what click hands over

import click
import cloup

from triton_kit.cli.command import kit_option
from triton_kit.cli.executor_option import EXECUTOR

if TYPE_CHECKING:
    from triton_kit.tuning.at_once import TrialsAtOnce

AT_ONCE = cloup.option_group(
    "Trials at once",
    kit_option(
        "--parallel",
        type=click.IntRange(min=1),
        metavar="N",
        help="Trials at the same time, each with its own server and cores. Default: 1; "
        "in a cluster one for each node; with --gpus-per-trial as many as fit.",
    ),
    kit_option(
        "--cores-per-trial",
        type=click.IntRange(min=1),
        metavar="K",
        help="Cores of a trial, for its server and its load. Default: those of the "
        "machine, divided by N. The result is for a server with K cores.",
    ),
    kit_option(
        "--gpus-per-trial",
        type=click.IntRange(min=0),
        default=0,
        metavar="G",
        help="GPUs of a trial, which no other trial uses. With 0 no GPU is assigned.",
    ),
    kit_option(
        "--share-cores",
        is_flag=True,
        help="Let trials share cores if there are fewer than N x K. They then disturb "
        "each other.",
    ),
    EXECUTOR,
)


def trials_at_once(
    *,
    parallel: int | None,
    cores_per_trial: int | None,
    gpus_per_trial: int,
    share_cores: bool,
    executor: str,
    **_: Any,  # noqa: ANN401  the command's other options
) -> TrialsAtOnce | None:
    """Return what the options ask for; None: one trial after the other.

    Raises:
        SpecError: there is no such executor.
    """
    from triton_kit.tuning.at_once import TrialsAtOnce

    at_once = TrialsAtOnce(
        parallel=parallel,
        cores_per_trial=cores_per_trial,
        gpus_per_trial=gpus_per_trial,
        share_cores=share_cores,
        executor=executor,
    )
    return None if at_once == TrialsAtOnce() else at_once
