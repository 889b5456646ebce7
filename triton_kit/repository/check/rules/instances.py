"""Instance groups: device kinds, GPU ids, TensorRT profiles."""

from __future__ import annotations

import re

from triton_kit.repository.check.normalize import TENSORRT_PLATFORM
from triton_kit.repository.check.rules.case import Case, Problem, Problems
from triton_kit.repository.config.places import Step
from triton_kit.triton.schema import Message

# std::stoi: white space, a sign, digits; whatever follows is ignored.
_NUMBER = re.compile(r"[ \t\n\r\v\f]*([+-]?[0-9]+)")
_LEAST, _MOST = -(1 << 31), (1 << 31) - 1
_KINDS = {1: "KIND_GPU", 2: "KIND_CPU", 3: "KIND_MODEL"}


def check_instances(case: Case) -> Problems:
    """G1 to G8: one problem a group at most."""
    for number, group in enumerate(case.config.instance_group):
        at = ("instance_group", number)
        problem = _device(case, group, at) or _profiles(case, group, at)
        if problem is not None:
            yield problem


def _device(case: Case, group: Message, at: tuple[Step, ...]) -> Problem | None:
    kind = _kind_name(group)
    prefix = f"instance group {group.name} of model {case.name} has "
    if kind is None:
        text = f"{prefix}unexpected kind KIND_AUTO"
        return Problem("G9", text, at=(*at, "kind"), hint="name a kind: KIND_CPU")
    if kind == "KIND_GPU":
        return _gpus(case, group, at)
    if group.gpus:
        is_written = bool(case.written.instance_group)
        was_auto = is_written and case.written.instance_group[at[1]].kind == 0
        hint = "remove gpus, or use kind: KIND_GPU"
        if was_auto:
            hint = f"the server has {case.target.gpus} GPUs: gpus makes this KIND_CPU"
        return Problem(
            "G3" if kind == "KIND_CPU" else "G4",
            f"{prefix}kind {kind} but specifies one or more GPUs",
            at=(*at, "gpus"),
            hint=hint,
        )
    return None


def _kind_name(group: Message) -> str | None:
    known = group.Kind.DESCRIPTOR.values_by_number.get(group.kind)
    return str(known.name) if known and known.name != "KIND_AUTO" else None


def _gpus(case: Case, group: Message, at: tuple[Step, ...]) -> Problem | None:
    prefix = f"instance group {group.name} of model {case.name} "
    if not group.gpus:
        return Problem(
            "G1",
            f"{prefix}has kind KIND_GPU but no GPUs are available",
            at=(*at, "kind"),
            hint="set how many GPUs the target has (--gpus N), or use KIND_CPU",
        )
    for number, gpu in enumerate(group.gpus):
        if not 0 <= gpu < case.target.gpus:
            known = ", ".join(str(i) for i in range(case.target.gpus))
            return Problem(
                "G2",
                f"{prefix}specifies invalid or unsupported gpu id {gpu}. GPUs with at "
                "least the minimum required CUDA compute compatibility of 6.000000 "
                f"are: {known}",
                at=(*at, "gpus", number),
                hint=f"the target has GPUs {known or 'none'} (--gpus N)",
            )
    return None


def _profiles(case: Case, group: Message, at: tuple[Step, ...]) -> Problem | None:
    if not group.profile:
        return None
    prefix = f"instance group {group.name} of model {case.name} and platform "
    if case.config.platform != TENSORRT_PLATFORM:
        return Problem(
            "G5",
            f"{prefix}{case.config.platform}specifies profile field which is only "
            "supported for TensorRT models",
            at=(*at, "profile"),
            hint="remove profile",
        )
    for number, profile in enumerate(group.profile):
        problem = _profile(
            profile, prefix + case.config.platform, (*at, "profile", number)
        )
        if problem is not None:
            return problem
    return None


def _profile(profile: str, prefix: str, at: tuple[Step, ...]) -> Problem | None:
    hint = 'a profile is the index of one in the plan: "0"'
    if not profile:
        return Problem("G7", "profile name must not be empty", at=at, hint=hint)
    found = _NUMBER.match(profile)
    if not found:
        return Problem("G7", f"unable to parse '{profile}': stoi", at=at, hint=hint)
    index = int(found[1])
    if not _LEAST <= index <= _MOST:
        message = f"the server aborts on profile {profile}: it is no 32-bit number"
        return Problem("G8", at=at, message=message, hint=hint)
    if index < 0:
        return Problem(
            "G6",
            f"{prefix} specifies invalid profile {profile}. The field should contain "
            "the string representation of a non-negative integer.",
            at=at,
            hint=hint,
        )
    return None
