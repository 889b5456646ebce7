"""What `--executor` means to each command."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from triton_kit.errors import SpecError
from triton_kit.execute.cluster import chosen_cluster

if TYPE_CHECKING:
    from triton_kit.conversion.spec import ConvertResult, ConvertSpec
    from triton_kit.execute.tasks import OpenExecutor
    from triton_kit.loadtest.run.worker_pool import StartWorkers


def load_workers(text: str) -> StartWorkers | None:
    """Return what starts load processes in a cluster; None for this machine.

    Raises:
        SpecError: there is no such executor.
        MissingExtraError: it needs Ray, which is not installed.
    """
    choice = chosen_cluster(text)
    if choice is None:
        return None
    from triton_kit.execute.ray_load import ray_workers

    return ray_workers(choice)


def task_executor(text: str, jobs: int | None = None) -> OpenExecutor | None:
    """Return what opens the executor of `jobs` tasks at once.

    None for one at a time on this machine, which needs no executor.

    Raises:
        SpecError: there is no such executor.
        MissingExtraError: it needs Ray, which is not installed.
    """
    choice = chosen_cluster(text)
    if choice is not None:
        from triton_kit.execute.ray_tasks import ray_executor

        return partial(ray_executor, choice, jobs)
    if jobs is None or jobs == 1:
        return None
    from triton_kit.execute.local_tasks import local_executor

    return partial(local_executor, jobs)


def conversion(
    text: str, compute_capability: str | None = None
) -> Callable[[ConvertSpec], ConvertResult]:
    """Return what converts one model: in this process, or as a task in a cluster.

    Args:
        text: the executor.
        compute_capability: of the node's GPU that builds a plan (`9.0`); None: any.

    Raises:
        SpecError: there is no such executor, or no node to choose.
        MissingExtraError: it needs Ray, which is not installed.
    """
    open_executor = task_executor(text)
    if open_executor is None:
        if compute_capability is not None:
            raise SpecError(
                f"compute capability {compute_capability} chooses a node of a cluster, "
                f"and the executor is {text}",
                hint="leave it out: this machine's first GPU builds the plan",
            )
        from triton_kit.conversion.pipeline import convert

        return convert
    from triton_kit.execute.conversions import convert_on

    return partial(convert_on, open_executor, compute_capability=compute_capability)
