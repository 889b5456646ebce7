"""The cores of a machine, divided among processes that must not disturb each other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import cycle, islice
from pathlib import Path

from triton_kit.errors import SpecError

Cores = tuple[int, ...]


def own_cores() -> Cores:
    """Return the cores that this process may use, those of one physical core together.

    Two threads of a physical core count as two cores.
    """
    return tuple(sorted(os.sched_getaffinity(0), key=_physical))


def _physical(core: int) -> tuple[str, int, int]:
    folder = Path(f"/sys/devices/system/cpu/cpu{core}/topology")
    try:
        package = (folder / "physical_package_id").read_text().strip()
        siblings = (folder / "thread_siblings_list").read_text()
    except OSError:  # a kernel that does not tell
        return "", core, core
    first = siblings.replace("-", ",").partition(",")[0].strip()
    return package, int(first) if first.isdigit() else core, core


def divide(
    cores: Sequence[int],
    count: int,
    each: int | None = None,
    *,
    may_share: bool = False,
    machine: str = "this machine",
) -> list[Cores]:
    """Return the cores of each process: disjoint sets of one size.

    Args:
        cores: what there is; neighbours in it stay together.
        count: of the processes.
        each: cores of a process; None: as many as there are for each, one at least.
        may_share: whether processes may share cores, if there are too few.
        machine: named in the error.

    Raises:
        SpecError: there are too few cores.
    """
    size = each or max(1, len(cores) // count)
    if size * count > len(cores) and not (may_share and size <= len(cores)):
        raise too_few(cores, count, size, machine)
    around = cycle(cores)
    return [tuple(sorted(islice(around, size))) for _ in range(count)]


def pick(
    available: Sequence[int],
    each: int,
    others: Sequence[Cores],
    *,
    may_share: bool = False,
) -> Cores:
    """Return cores for one more process: those that no other one has, first.

    Args:
        available: to this process.
        each: how many it gets.
        others: the cores of the other processes on that machine.
        may_share: whether it may have cores of others, if there are too few.

    Raises:
        SpecError: there are too few cores.
    """
    used = [core for cores in others for core in cores]
    free = [core for core in available if core not in used]
    if len(free) < each and not (may_share and each <= len(available)):
        count = sum(bool(cores) for cores in others) + 1
        raise too_few(available, count, each, "its machine")
    return tuple(sorted(sorted(available, key=used.count)[:each]))


def too_few(
    cores: Iterable[int], count: int, each: int, machine: str = "this machine"
) -> SpecError:
    """Return the error for more processes than there are cores for."""
    there = len(list(cores))
    trials = f"{count} trial{'s' if count > 1 else ''} at once"
    hint = "--share-cores lets them share cores, and disturb each other"
    if each <= there:
        hint = f"--parallel {there // each}, or fewer --cores-per-trial; {hint}"
    else:
        hint = f"--cores-per-trial {there} at most"
    return SpecError(
        f"{trials} with {each} core{'s' if each > 1 else ''} each: {machine} has "
        f"{there} for them",
        hint=hint,
    )
