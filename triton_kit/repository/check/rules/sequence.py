"""Sequence batching: control tensors and strategies."""

from __future__ import annotations

from triton_kit.repository.check.rules.case import Case, Problem, Problems
from triton_kit.repository.config.places import Step
from triton_kit.triton.schema import DATA_TYPES, Message

_AT = "sequence_batching"
_BOOLEAN_KINDS = (
    "CONTROL_SEQUENCE_START",
    "CONTROL_SEQUENCE_END",
    "CONTROL_SEQUENCE_READY",
)
_CORRID = "CONTROL_SEQUENCE_CORRID"
_CORRID_TYPES = (
    "TYPE_UINT64",
    "TYPE_INT64",
    "TYPE_UINT32",
    "TYPE_INT32",
    "TYPE_STRING",
)
_VALUE_FIELDS = ("int32_false_true", "fp32_false_true", "bool_false_true")
_PAIR_RULES = {
    "int32_false_true": "S7",
    "fp32_false_true": "S8",
    "bool_false_true": "S9",
}


def check_sequence_batching(case: Case) -> Problems:
    """S1 to S14."""
    if not case.config.HasField(_AT):
        return
    if case.config.response_cache.enable:
        yield Problem(
            "S1",
            f"Response Cache does not currently support model {case.name} with "
            "sequence batching scheduler. Please disable the response cache.",
            at=("response_cache",),
            hint="remove response_cache: responses depend on earlier requests",
        )
    broken_names = list(_control_names(case))
    yield from broken_names
    if not broken_names:
        for kind in (*_BOOLEAN_KINDS, _CORRID):
            yield from _control(case, kind)
    yield from _oldest(case)
    yield from _direct(case)


def _control_names(case: Case) -> Problems:
    seen = set()
    for number, control in enumerate(case.config.sequence_batching.control_input):
        at = (_AT, "control_input", number)
        if not control.name:
            text = f"sequence batching control tensor must have a name for {case.name}"
            yield Problem("S2", text, at=at, hint='add name: "START"')
            return
        if control.name in seen:
            yield Problem(
                "S3",
                f"sequence batching control tensor '{control.name}' is specified for "
                f"multiple control kinds for {case.name}",
                at=(*at, "name"),
                hint="each control_input needs a name of its own",
            )
            return
        seen.add(control.name)


def _control(case: Case, kind: str) -> Problems:
    """Check the control tensors of one kind; like the server, up to the first fault."""
    batching = case.config.sequence_batching
    found = [
        (("sequence_batching", "control_input", i, "control", j), control)
        for i, tensor in enumerate(batching.control_input)
        for j, control in enumerate(tensor.control)
        if tensor.control[j].Kind.Name(control.kind) == kind
    ]
    for number, (at, control) in enumerate(found):
        if number:
            yield Problem(
                "S4",
                f"sequence batching specifies multiple {kind} tensors for {case.name}",
                at=at,
                hint="keep one tensor of this kind",
            )
            return
        problem = (_typed if kind == _CORRID else _boolean)(case, kind, at, control)
        if problem is not None:
            yield problem
            return
    if kind == _CORRID and found:
        yield from _corrid_type(case, *found[0])


def _boolean(
    case: Case, kind: str, at: tuple[Step, ...], control: Message
) -> Problem | None:
    given = [name for name in _VALUE_FIELDS if len(getattr(control, name))]
    suffix = f"for {kind} for {case.name}"
    if not given:
        return Problem(
            "S5",
            "sequence batching must specify either 'int32_false_true', "
            f"'fp32_false_true' or 'bool_false_true' {suffix}",
            at=at,
            hint="add int32_false_true: [ 0, 1 ]",
        )
    if len(given) > 1:
        return Problem(
            "S6",
            "sequence batching specifies more than one from 'int32_false_true', "
            f"'fp32_false_true' and 'bool_false_true' {suffix}",
            at=(*at, given[1]),
            hint=f"keep one of {' and '.join(given)}",
        )
    if len(getattr(control, given[0])) != 2:
        return Problem(
            _PAIR_RULES[given[0]],
            f"sequence batching control '{given[0]}' must have exactly 2 entries "
            f"{suffix}",
            at=(*at, given[0]),
            hint="give the value for false, then the one for true",
        )
    return None


def _typed(
    case: Case, kind: str, at: tuple[Step, ...], control: Message
) -> Problem | None:
    if any(len(getattr(control, name)) for name in _VALUE_FIELDS):
        return Problem(
            "S10",
            "sequence batching must not specify either 'int32_false_true', "
            f"'fp32_false_true' or 'bool_false_true' for {kind} for {case.name}",
            at=at,
            hint="a correlation id has a data_type and no false/true values",
        )
    return None


def _corrid_type(case: Case, at: tuple[Step, ...], control: Message) -> Problems:
    if data_type_name(control.data_type) not in _CORRID_TYPES:
        yield Problem(
            "S11",
            f"unexpected data type for control {_CORRID} for {case.name}. Allowed data "
            "types are TYPE_UINT64, TYPE_INT64, TYPE_UINT32, TYPE_INT32 and "
            "TYPE_STRING",
            at=(*at, "data_type"),
            hint="add data_type: TYPE_UINT64",
        )


def data_type_name(number: int) -> str:
    """Return a data type's name; an unknown number as the server prints it: nothing."""
    known = DATA_TYPES.DESCRIPTOR.values_by_number.get(number)
    return str(known.name) if known else ""


def _oldest(case: Case) -> Problems:
    if not case.config.sequence_batching.HasField("oldest"):
        return
    most = case.config.max_batch_size
    sizes = case.config.sequence_batching.oldest.preferred_batch_size
    for number, size in enumerate(sizes):
        at = (_AT, "oldest", "preferred_batch_size", number)
        if size <= 0:
            text = "sequence batching preferred batch size must be positive for "
            yield Problem("S12", text + case.name, at=at, hint="remove it")
            return
        if size > most:
            yield Problem(
                "S13",
                "sequence batching preferred batch size must be <= max batch size for "
                f"{case.name}",
                at=at,
                hint=f"it is {size} and max_batch_size is {most}",
            )
            return


def _direct(case: Case) -> Problems:
    batching = case.config.sequence_batching
    use = batching.direct.minimum_slot_utilization
    if batching.HasField("direct") and (use < 0.0 or use > 1.0):
        yield Problem(
            "S14",
            "sequence batching minimum slot utilization must be in range (0.0, 1.0] "
            f"for {case.name}",
            at=(_AT, "direct", "minimum_slot_utilization"),
            hint=f"it is {use:g}",
        )
