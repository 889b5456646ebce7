"""How many trials run at the same time, and where."""

from __future__ import annotations

from dataclasses import dataclass

from triton_kit.errors import SpecError
from triton_kit.execute.cluster import ExecutorChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialsAtOnce:
    """Trials of a search that run side by side, each on a server and cores of its own.

    Attributes:
        parallel: how many at once; None: one on this machine, or one for each node of
            a cluster; with GPUs as many as those and the cores are enough for.
        cores_per_trial: for the server and the load of a trial; None: those of the
            machine divided evenly, one at least.
        gpus_per_trial: that no other trial has; 0: all trials see the same GPUs on this
            machine, and none in a cluster.
        share_cores: whether trials may share cores, if there are not enough of them.
        executor: `local`, `ray` or `ray://HEAD:PORT`.
    """

    parallel: int | None = None
    cores_per_trial: int | None = None
    gpus_per_trial: int = 0
    share_cores: bool = False
    executor: str = "local"

    def __post_init__(self) -> None:
        for name, value in (
            ("trials at once", self.parallel),
            ("cores of a trial", self.cores_per_trial),
        ):
            if value is not None and value < 1:
                raise SpecError(f"{name}: expected 1 or more, got {value}")
        if self.gpus_per_trial < 0:
            found = self.gpus_per_trial
            raise SpecError(f"GPUs of a trial: expected 0 or more, got {found}")
        ExecutorChoice(self.executor)
