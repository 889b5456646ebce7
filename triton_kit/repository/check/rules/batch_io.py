"""Tensors that the server makes from a batch, and takes apart again."""

from __future__ import annotations

from triton_kit.repository.check.rules.case import Case, Problem, Problems
from triton_kit.repository.config.places import Step
from triton_kit.triton.schema import Message

_BATCH_INPUT_TYPES = (8, 11)  # TYPE_INT32, TYPE_FP32


def check_batch_io(case: Case) -> Problems:
    """B1 to B7; like the server, up to the first fault."""
    inputs = {tensor.name for tensor in case.config.input}
    outputs = {tensor.name for tensor in case.config.output}
    for number, item in enumerate(case.config.batch_input):
        at = ("batch_input", number)
        problem = _batch_input(item, inputs, at)
        if problem is not None:
            yield _named(problem, case)
            return
    for number, item in enumerate(case.config.batch_output):
        at = ("batch_output", number)
        problem = _batch_output(item, inputs, outputs, at)
        if problem is not None:
            yield _named(problem, case)
            return


def _named(problem: Problem, case: Case) -> Problem:
    text = f"{problem.server_text} for {case.name}"
    return Problem(problem.rule, text, at=problem.at, hint=problem.hint)


def _batch_input(
    item: Message, inputs: set[str], at: tuple[Step, ...]
) -> Problem | None:
    problem = _sources("B1", "input", item, at)
    if problem is not None:
        return problem
    if item.data_type not in _BATCH_INPUT_TYPES:
        text = "batch input data type must be TYPE_INT32 or TYPE_FP32"
        return Problem("B2", text, at=(*at, "data_type"))
    return _source_names("B3", item, inputs, at)


def _batch_output(
    item: Message, inputs: set[str], outputs: set[str], at: tuple[Step, ...]
) -> Problem | None:
    problem = _sources("B4", "output", item, at) or _source_names(
        "B5", item, inputs, at
    )
    if problem is not None:
        return problem
    seen = set()
    for number, name in enumerate(item.target_name):
        at_name = (*at, "target_name", number)
        if name not in outputs:
            text = f"unknown target output name '{name}'"
            hint = f"the outputs are {', '.join(sorted(outputs)) or 'none'}"
            return Problem("B6", text, at=at_name, hint=hint)
        if name in seen:
            text = f"target output name '{name}' can only be specified once"
            return Problem("B7", text, at=at_name, hint="remove it")
        seen.add(name)
    return None


def _sources(
    rule: str, word: str, item: Message, at: tuple[Step, ...]
) -> Problem | None:
    known = item.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number
    kind = known.get(item.kind)
    if kind is None:
        return Problem(rule, f"unknown batch {word} kind ''", at=(*at, "kind"))
    if len(item.source_input) != 1:
        return Problem(
            rule,
            f"batch {word} kind '{kind.name}' expects 1 source input, got "
            f"{len(item.source_input)}",
            at=(*at, "source_input"),
            hint="name the one input whose sizes are meant",
        )
    return None


def _source_names(
    rule: str, item: Message, inputs: set[str], at: tuple[Step, ...]
) -> Problem | None:
    for number, name in enumerate(item.source_input):
        if name not in inputs:
            text = f"unknown source input name '{name}'"
            hint = f"the inputs are {', '.join(sorted(inputs)) or 'none'}"
            return Problem(rule, text, at=(*at, "source_input", number), hint=hint)
    return None
