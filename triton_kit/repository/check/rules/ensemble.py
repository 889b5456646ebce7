"""An ensemble by itself: its steps and the tensors between them."""

from __future__ import annotations

from triton_kit.repository.check.graph import EnsembleGraph, ensemble_graph
from triton_kit.repository.check.normalize import ENSEMBLE
from triton_kit.repository.check.rules.case import Case, Problem, Problems

_AT = "ensemble_scheduling"


def check_ensemble(case: Case) -> Problems:
    """E1 to E14 and E26."""
    config = case.config
    if not case.is_ensemble:
        if config.platform == ENSEMBLE:
            yield Problem(
                "E2",
                f"ensemble scheduling must be set for ensemble {case.name} whose "
                "platform is ensemble",
                at=("platform",),
                hint="add ensemble_scheduling { step [ ... ] }",
            )
        return
    if config.platform != ENSEMBLE:
        yield Problem(
            "E1",
            f"ensemble scheduling cannot be set for model '{case.name}' whose platform "
            "is not ensemble",
            at=(_AT,),
            hint='write platform: "ensemble" and no backend',
        )
    yield from _foreign_fields(case)
    if not config.ensemble_scheduling.step:
        text = f"must specify 'step' for ensemble '{case.name}'"
        yield Problem("E6", text, at=(_AT,), hint="add step [ { ... } ]")
        return
    faults = [*_steps(case), *_written_twice(case)]
    yield from faults
    if not faults:
        yield from _flow(case, ensemble_graph(config))


def _foreign_fields(case: Case) -> Problems:
    """E3, E4, E5: what only a model with a backend has."""
    config, name = case.config, case.name
    if config.instance_group:
        text = f"instance group should not be specified for ensemble '{name}'"
        hint = "remove it: each step's model has its own instances"
        yield Problem("E3", text, at=("instance_group",), hint=hint)
    if config.HasField("optimization"):
        text = f"optimization should not be specified for ensemble '{name}'"
        yield Problem("E4", text, at=("optimization",), hint="remove it")
    if config.model_warmup:
        text = f"model_warmup can not be specified for ensemble '{name}'"
        hint = "warm the models of the steps up instead"
        yield Problem("E5", text, at=("model_warmup",), hint=hint)


def _steps(case: Case) -> Problems:
    for number, step in enumerate(case.config.ensemble_scheduling.step):
        suffix = f"in step {number} of ensemble '{case.name}'"
        at = (_AT, "step", number)
        for rule, field in (
            ("E7", "model_name"),
            ("E8", "input_map"),
            ("E9", "output_map"),
        ):
            if not getattr(step, field):
                text = f"must specify '{field}' {suffix}"
                yield Problem(rule, text, at=at, hint=f"add {field}")


def _written_twice(case: Case) -> Problems:
    writer: dict[str, int] = {}
    for number, step in enumerate(case.config.ensemble_scheduling.step):
        for output, tensor in sorted(step.output_map.items()):
            if tensor in writer:
                is_same = writer[tensor] == number
                yield Problem(
                    "E26" if is_same else "E10",
                    f"ensemble tensor '{tensor}' can appear in an output map only once "
                    f"for ensemble '{case.name}' step {number}",
                    at=(_AT, "step", number, "output_map", output),
                    hint=f"step {writer[tensor]} writes it already: use another name",
                )
            writer.setdefault(tensor, number)


def _flow(case: Case, graph: EnsembleGraph) -> Problems:
    """E11 to E14: every tensor comes from somewhere and goes somewhere."""
    config = case.config
    for kind, rule in (("input", "E11"), ("output", "E12")):
        for number, tensor in enumerate(getattr(config, kind)):
            if tensor.name not in graph.tensors:
                verb = "read" if kind == "input" else "written"
                yield Problem(
                    rule,
                    f"ensemble {kind} '{tensor.name}' for ensemble {case.name}' is not "
                    "used",
                    at=(kind, number, "name"),
                    hint=f"no step's {kind}_map has it as value: it is never {verb}",
                )
    for number, tensor in enumerate(config.output):
        if tensor.name in graph.tensors and tensor.name not in graph.ready:
            yield _unwritten(case, graph, tensor.name, number)
    outputs = {tensor.name for tensor in config.output}
    for name in sorted(graph.tensors - outputs):
        if name not in graph.ready or not graph.feeds[name]:
            yield _unused(case, graph, name)


def _unwritten(case: Case, graph: EnsembleGraph, name: str, number: int) -> Problem:
    text = f"output '{name}' for ensemble '{case.name}' is not written"
    source = graph.missing_source(name)
    hint = "no step writes it"
    if graph.is_written(name):
        hint = "it waits for itself: the steps form a circle"
    if source != name:
        text += f": at least one of its depending tensors, '{source}', is not connected"
        hint = f"{source!r} is no input of the ensemble and no step writes it"
        if graph.is_written(source):
            hint = f"{source!r} waits for itself: the steps form a circle"
    return Problem("E13", text, at=("output", number, "name"), hint=hint)


def _unused(case: Case, graph: EnsembleGraph, name: str) -> Problem:
    text = f"ensemble tensor '{name}' is unused in ensemble '{case.name}'"
    if name in graph.ready:
        hint = "no step reads it: list it as output, or drop it from the output_map"
    else:
        hint = "it is no input of the ensemble and no step writes it"
    return Problem("E14", text, at=graph.place_of(name), hint=hint)
