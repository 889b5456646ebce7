"""Dynamic batching: preferred sizes, priorities and queue policies."""

from __future__ import annotations

from triton_kit.repository.check.rules.case import Case, Problem, Problems
from triton_kit.triton.schema import Message

_AT = "dynamic_batching"
_DELAY = 1


def check_dynamic_batching(case: Case) -> Problems:
    """D1 to D8."""
    if not case.config.HasField(_AT):
        return
    yield from _preferred_sizes(case)
    yield from _priorities(case)
    if case.config.dynamic_batching.preserve_ordering:
        yield from _ordering(case)


def _preferred_sizes(case: Case) -> Problems:
    most = case.config.max_batch_size
    for number, size in enumerate(case.config.dynamic_batching.preferred_batch_size):
        at = (_AT, "preferred_batch_size", number)
        if size <= 0:
            text = f"dynamic batching preferred size must be positive for {case.name}"
            yield Problem("D1", text, at=at, hint=f"it is {size}: remove it")
            return
        if size > most:
            yield Problem(
                "D2",
                "dynamic batching preferred size must be <= max batch size for "
                f"{case.name}",
                at=at,
                hint=f"it is {size} and max_batch_size is {most}: raise max_batch_size "
                "or remove the size",
            )
            return


def _priorities(case: Case) -> Problems:
    batching = case.config.dynamic_batching
    levels = batching.priority_levels
    if not levels:
        return
    default = batching.default_priority_level
    if not 1 <= default <= levels:
        yield Problem(
            "D3" if default == 0 else "D4",
            f"default priority level must be in range [1, {levels}] for {case.name}",
            at=(_AT, "default_priority_level"),
            hint=f"set default_priority_level to 1..{levels}",
        )
    for level in sorted(batching.priority_queue_policy):
        if not 1 <= level <= levels:
            yield Problem(
                "D5",
                "priority queue policy must have priority level in range "
                f"[1, {levels}] for {case.name}",
                at=(_AT, "priority_queue_policy", level),
                hint=f"key {level} is no level: there are 1..{levels}",
            )
            return


def _ordering(case: Case) -> Problems:
    batching = case.config.dynamic_batching
    if batching.priority_levels > 1:
        yield Problem(
            "D6",
            "Only one priority level is allowed when 'preserve_ordering' is true for "
            f"{case.name}",
            at=(_AT, "priority_levels"),
            hint="requests cannot both keep their order and overtake: drop one of both",
        )
    text = (
        "Queue policy can not have DELAY as timeout action when 'preserve_ordering' is "
        f"true for {case.name}"
    )
    hint = "use timeout_action: REJECT, or drop preserve_ordering"
    if _delays(batching.default_queue_policy):
        at = (_AT, "default_queue_policy", "timeout_action")
        yield Problem("D7", text, at=at, hint=hint)
    for level, policy in sorted(batching.priority_queue_policy.items()):
        if _delays(policy):
            at_level = (_AT, "priority_queue_policy", level, "timeout_action")
            yield Problem("D8", text, at=at_level, hint=hint)
            return


def _delays(policy: Message) -> bool:
    has_timeout = policy.default_timeout_microseconds != 0
    return bool(has_timeout and policy.timeout_action == _DELAY)
