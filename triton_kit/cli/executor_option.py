"""`--executor`: where work runs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from triton_kit.cli.command import kit_option

if TYPE_CHECKING:
    from triton_kit.build_many import OpenExecutor
    from triton_kit.loadtest.run.worker_pool import StartWorkers

EXECUTOR = kit_option(
    "--executor",
    default="local",
    metavar="WHERE",
    help="Where the work runs: local, ray (the cluster of this machine or of "
    "$RAY_ADDRESS) or ray://HEAD:10001.",
)


def executor_workers(text: str) -> StartWorkers | None:
    """Return what starts load processes where `--executor` says; None for here.

    Raises:
        SpecError: there is no such executor.
        MissingExtraError: it needs Ray, which is not installed.
    """
    if text == "local":
        return None
    from triton_kit.execute.cluster import ExecutorChoice, require_ray

    choice = ExecutorChoice(text)
    require_ray(choice)
    from triton_kit.execute.ray_load import ray_workers

    return ray_workers(choice)


def task_executor(text: str, jobs: int | None) -> OpenExecutor | None:
    """Return what opens the executor of `--executor` and `-j`; None for one at a time.

    Raises:
        SpecError: there is no such executor.
        MissingExtraError: it needs Ray, which is not installed.
    """
    if text == "local":
        if jobs is None or jobs == 1:
            return None
        from triton_kit.execute.local_tasks import local_executor

        return partial(local_executor, jobs)
    from triton_kit.execute.cluster import ExecutorChoice, require_ray

    choice = ExecutorChoice(text)
    require_ray(choice)
    from triton_kit.execute.ray_tasks import ray_executor

    return partial(ray_executor, choice, jobs)
