"""Version folders and the version policy."""

from __future__ import annotations

import re

from triton_kit.repository.check.normalize import default_filename
from triton_kit.repository.check.rules.case import Case, Problem, Problems

# Folders that are never versions.
_OTHER_FOLDERS = frozenset({"warmup", "initial_state", "configs"})
# std::stoll: white space, a sign, digits; whatever follows is ignored.
_NUMBER = re.compile(r"[ \t\n\r\v\f]*([+-]?[0-9]+)")
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1


def version_number(folder: str) -> int | None:
    """Return the version that the server takes a folder for; None if for none."""
    if folder in _OTHER_FOLDERS or (len(folder) > 1 and folder[0] == "0"):
        return None
    found = _NUMBER.match(folder)
    return int(found[1]) if found else None


def served_versions(case: Case) -> tuple[int, ...]:
    """Return the versions that the policy selects, newest first."""
    numbers = {version_number(name) for name in case.folder.subfolders}
    existing = {number for number in numbers if number is not None}
    newest_first = sorted(existing, reverse=True)
    policy = case.config.version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "latest":
        return tuple(newest_first[: policy.latest.num_versions])
    if choice != "specific":
        return tuple(newest_first)
    chosen = []
    for number in policy.specific.versions:
        # An absent version that is named twice counts the second time, as there.
        if number in existing:
            chosen.append(number)
        existing.add(number)
    return tuple(sorted(set(chosen), reverse=True))


def check_versions(case: Case) -> Problems:
    """V1 to V5: the policy must leave a version to serve."""
    for name in case.folder.subfolders:
        number = version_number(name)
        if number is not None and not _LEAST <= number <= _MOST:
            yield Problem(
                "V5",
                message=f"the server aborts on the folder {name}: no version number is "
                "that large",
                hint="rename it",
                file=case.folder.path / name,
            )
    if case.versions:
        return
    text = (
        "at least one version must be available under the version policy of model "
        f"'{case.name}'"
    )
    yield Problem(_rule(case), text, at=("version_policy",), hint=_hint(case))


def _rule(case: Case) -> str:
    policy = case.config.version_policy
    if policy.HasField("specific"):
        return "V2"
    if policy.HasField("latest") and policy.latest.num_versions == 0:
        return "V3"
    has_zeros = any(name[0] == "0" and name != "0" for name in case.folder.subfolders)
    return "V4" if has_zeros else "V1"


def _hint(case: Case) -> str:
    if case.folder.name.startswith("."):
        return "the server takes every folder for a model: move it elsewhere"
    there = [
        name for name in case.folder.subfolders if version_number(name) is not None
    ]
    rule = _rule(case)
    if rule == "V3":
        return "write latest { num_versions: 1 }"
    if rule == "V4":
        return "name version folders without leading zeros: 1, not 01"
    if rule == "V2" and there:
        return f"there are versions {', '.join(there)}"
    if case.is_ensemble:
        return (
            "make an empty folder named 1; Git keeps it with a file in it: 1/.gitkeep"
        )
    config = case.config
    filename = config.default_model_filename or default_filename(config.backend)
    file = f"1/{filename}" if filename else "1/..."
    return f"make a folder named 1 with the model in it ({file})"
