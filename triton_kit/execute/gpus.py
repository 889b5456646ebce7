"""The GPUs of a machine, divided among processes: no two processes have the same one.

A GPU is named as CUDA_VISIBLE_DEVICES names it: by its number or its UUID.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import pairwise, takewhile

from triton_kit.errors import SpecError
from triton_kit.gpu import gpu_uuids

Gpus = tuple[str, ...]
VISIBLE = "CUDA_VISIBLE_DEVICES"
_NAME = re.compile(r"\d+|(?P<kind>GPU|MIG)-\S+")


def own_gpus() -> Gpus:
    """Return the GPUs that this process may use.

    Raises:
        SpecError: CUDA_VISIBLE_DEVICES may name one GPU twice.
    """
    text = os.environ.get(VISIBLE)
    return gpu_uuids() if text is None else visible(text)


def visible(text: str) -> Gpus:
    """Return the GPUs that a value of CUDA_VISIBLE_DEVICES names.

    CUDA ends the list at the first word that names no GPU, such as `-1`.

    Raises:
        SpecError: it may name one GPU twice.
    """
    words = (word.strip() for word in text.split(","))
    names = tuple(takewhile(_NAME.fullmatch, words))
    if _may_repeat(names):
        raise SpecError(
            f"{VISIBLE}={text}: it may name one GPU twice",
            hint="name each GPU once, and all of them by numbers or all by UUIDs",
        )
    return names


def _may_repeat(names: Gpus) -> bool:
    """Whether two of the names may be of one GPU; a UUID may be cut short."""
    kinds = {found["kind"] for name in names if (found := _NAME.fullmatch(name))}
    if len(kinds) > 1:
        return True
    if kinds == {None}:
        return len({*map(int, names)}) < len(names)
    return any(long.startswith(short) for short, long in pairwise(sorted(names)))


def known_uuids(gpus: Gpus) -> Gpus:
    """Return the UUIDs of GPUs; those whose UUID is not known here are left out."""
    numbered = gpu_uuids() if any(name.isdigit() for name in gpus) else ()
    by_name = {str(number): uuid for number, uuid in enumerate(numbered)}
    found = (by_name.get(name, name) for name in gpus)
    return tuple(name for name in found if not name.isdigit())


def divide_gpus(gpus: Sequence[str], count: int, each: int) -> list[Gpus]:
    """Return the GPUs of each process; neighbours stay together.

    Args:
        gpus: what there is.
        count: of the processes.
        each: GPUs of a process, 1 or more.

    Raises:
        SpecError: there are too few.
    """
    if count * each > len(gpus):
        raise _too_few(len(gpus), count, each)
    return [tuple(gpus[first : first + each]) for first in range(0, count * each, each)]


def _too_few(there: int, count: int, each: int) -> SpecError:
    trials = f"{count} trial{'s' if count > 1 else ''} at once"
    asked = f"{each} GPU{'s' if each > 1 else ''} each"
    text = os.environ.get(VISIBLE)
    left = "" if text is None else f" in {VISIBLE}={text!r}"
    if not there:
        hint = "leave out --gpus-per-trial; nvidia-smi -L lists the machine's GPUs"
    elif each > there:
        hint = f"--gpus-per-trial {there} at most"
    else:
        hint = f"--parallel {there // each}, or fewer --gpus-per-trial"
    if there and text is not None:
        hint += f"; {VISIBLE} limits the GPUs"
    return SpecError(
        f"{trials} with {asked}: this machine has {there} for them{left}", hint=hint
    )
