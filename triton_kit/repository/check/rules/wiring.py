"""The tensors along the edges of an ensemble: type, shape, batch axis, decoupling."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from triton_kit.repository.check.rules.case import Case, Problem, Problems
from triton_kit.repository.check.rules.outcome import Outcome
from triton_kit.repository.check.rules.sequence import data_type_name
from triton_kit.repository.check.rules.warmup import dims_agree, dims_text
from triton_kit.repository.config.places import Step
from triton_kit.triton.schema import Message


@dataclass(slots=True, eq=False)
class _Node:
    """An ensemble tensor, and the model that declares it first."""

    model: str
    data_type: int | None = None
    dims: Sequence[int] = ()
    full_dims: Sequence[int] = ()
    is_decoupled: bool = False
    label: int = 0
    is_visited: bool = False
    before: list[_Node] = field(default_factory=list)
    after: list[_Node] = field(default_factory=list)
    # Stands for all outputs of one step, which share a label.
    sibling: _Node | None = None


_Nodes = dict[str, _Node]


def _node(model: str, tensor: Message, dims: Sequence[int], *, batched: bool) -> _Node:
    full = [-1, *dims] if batched else list(dims)
    return _Node(model, tensor.data_type, list(dims), full)


def check_wiring(case: Case, outcomes: Mapping[str, Outcome]) -> Problems:
    """E16 to E21 and E25."""
    nodes, sink = _ends(case)
    faults = []
    for number, step in enumerate(case.config.ensemble_scheduling.step):
        outcome = outcomes[step.model_name]
        assert outcome.case is not None  # a missing model was a finding before
        at = ("ensemble_scheduling", "step", number)
        faults += _batch_size(case, outcome.case, at)
        faults += _maps(case, step, outcome, nodes, at)
        _link(step, nodes, is_decoupled=outcome.is_decoupled)
    yield from faults
    if not faults:
        yield from _labels(case, nodes, sink)


def is_decoupled(case: Case, outcomes: Mapping[str, Outcome]) -> bool:
    """Whether an ensemble may send several responses: if any step may."""
    steps = case.config.ensemble_scheduling.step
    return any(
        outcomes[step.model_name].is_decoupled
        for step in steps
        if step.model_name in outcomes
    )


def _ends(case: Case) -> tuple[_Nodes, _Node]:
    batched = case.config.max_batch_size > 0
    nodes: _Nodes = {}
    sink = _Node(case.name)
    for tensor in case.config.input:
        nodes.setdefault(
            tensor.name, _node(case.name, tensor, _outer_dims(tensor), batched=batched)
        )
    for tensor in case.config.output:
        node = nodes.setdefault(
            tensor.name, _node(case.name, tensor, _outer_dims(tensor), batched=batched)
        )
        sink.before.append(node)
        node.after.append(sink)
    return nodes, sink


def _outer_dims(tensor: Message) -> Sequence[int]:
    has_reshape = tensor.HasField("reshape")
    return list(tensor.reshape.shape if has_reshape else tensor.dims)


def _batch_size(case: Case, model: Case, at: tuple[Step, ...]) -> list[Problem]:
    most, own = case.config.max_batch_size, model.config.max_batch_size
    if own == 0 or own >= most:
        return []
    return [
        Problem(
            "E21",
            f"ensemble {case.name} allows maximum batch size {most}, but it contains "
            f"model {model.name} which only allows maximum batch size to be {own}",
            at=("max_batch_size",),
            hint=f"write max_batch_size: {own}, or raise that of {model.name!r} "
            f"(step {at[-1]})",
        )
    ]


def _maps(
    case: Case, step: Message, outcome: Outcome, nodes: _Nodes, at: tuple[Step, ...]
) -> list[Problem]:
    assert outcome.case is not None  # a missing model was a finding before
    config = outcome.case.config
    if not outcome.knows_tensors:
        _guess(step, nodes)
        return []
    prefix = f"in ensemble {case.name}, "
    model = step.model_name
    batched = config.max_batch_size > 0
    sibling = _Node(model)
    faults = _unknown_names(step, config, "input", prefix, at)
    for kind in ("input", "output"):
        mapping = getattr(step, f"{kind}_map")
        for tensor in getattr(config, kind):
            if tensor.name not in mapping:
                continue
            name = mapping[tensor.name]
            node = _node(model, tensor, list(tensor.dims), batched=batched)
            known = nodes.setdefault(name, node)
            at_map = (*at, f"{kind}_map", tensor.name)
            faults += _consistent(
                known, node, f"{prefix}ensemble tensor {name}: ", at_map
            )
            if kind == "output":
                known.sibling = sibling
        if kind == "input":
            faults += _unmapped(step, config, prefix, at)
            faults += _unknown_names(step, config, "output", prefix, at)
    return faults + _doubled(step, config, prefix, at)


def _doubled(
    step: Message, config: Message, prefix: str, at: tuple[Step, ...]
) -> list[Problem]:
    """E28: two outputs of one name in the step's model."""
    names = [tensor.name for tensor in config.output]
    return [
        Problem(
            "E28",
            f"{prefix}multiple outputs in model {step.model_name} are mapped to the "
            f"same ensemble tensor {tensor}",
            at=(*at, "output_map", name),
            hint=f"{step.model_name!r} lists output {name!r} twice: remove one",
        )
        for name, tensor in sorted(step.output_map.items())
        if names.count(name) > 1
    ]


def _guess(step: Message, nodes: _Nodes) -> None:
    """Take up tensors of a model that only its backend knows."""
    sibling = _Node(step.model_name)
    for name in step.input_map.values():
        nodes.setdefault(name, _Node(step.model_name))
    for name in step.output_map.values():
        nodes.setdefault(name, _Node(step.model_name)).sibling = sibling


def _unknown_names(
    step: Message, config: Message, kind: str, prefix: str, at: tuple[Step, ...]
) -> list[Problem]:
    rule, verb = ("E16", "mapping to") if kind == "input" else ("E17", "mapped from")
    known = [tensor.name for tensor in getattr(config, kind)]
    return [
        Problem(
            rule,
            f"{prefix}ensemble tensor {name} is {verb} non-existing {kind} {key} in "
            f"model {step.model_name}",
            at=(*at, f"{kind}_map", key),
            hint=f"its {kind}s are {', '.join(known) or 'none'}",
        )
        for key, name in sorted(getattr(step, f"{kind}_map").items())
        if key not in known
    ]


def _unmapped(
    step: Message, config: Message, prefix: str, at: tuple[Step, ...]
) -> list[Problem]:
    return [
        Problem(
            "E18",
            f"{prefix}input {tensor.name} in model {step.model_name} is not mapped to "
            "any ensemble tensors",
            at=(*at, "input_map"),
            hint=f'add input_map {{ key: "{tensor.name}" value: "..." }}',
        )
        for tensor in config.input
        if tensor.name not in step.input_map and not tensor.optional
    ]


def _consistent(
    known: _Node, node: _Node, prefix: str, at: tuple[Step, ...]
) -> list[Problem]:
    if known.data_type is None or known is node:
        return []
    if known.data_type != node.data_type:
        one, other = (
            data_type_name(known.data_type),
            data_type_name(node.data_type or 0),
        )
        problem = Problem(
            "E19",
            f"{prefix}inconsistent data type: {one} is inferred from model "
            f"{known.model} while {other} is inferred from model {node.model}",
            at=at,
            hint="let one of the two models, or a step between them, convert it",
        )
        return [problem]
    agree = dims_agree(known.dims, node.dims)
    if not agree and not dims_agree(known.full_dims, node.full_dims):
        one, other = dims_text(known.full_dims), dims_text(node.full_dims)
        problem = Problem(
            "E20",
            f"{prefix}inconsistent shape: {one} is inferred from model {known.model} "
            f"while {other} is inferred from model {node.model}",
            at=at,
            hint="shapes are shown with the batch axis (-1) of models that have "
            "max_batch_size > 0; reshape of a step's model does not count here",
        )
        return [problem]
    return []


def _link(step: Message, nodes: _Nodes, *, is_decoupled: bool) -> None:
    for output in step.output_map.values():
        node = nodes.get(output)
        if node is None:
            continue
        node.is_decoupled = is_decoupled
        for source in step.input_map.values():
            before = nodes.get(source)
            if before is not None:
                node.before.append(before)
                before.after.append(node)


def _labels(case: Case, nodes: _Nodes, sink: _Node) -> Problems:
    """E25: what a decoupled model writes must not meet what another one does."""
    labels = 0
    queue = deque(nodes[tensor.name] for tensor in case.config.input)
    for node in queue:
        node.is_visited = True
    while queue:
        for node in queue.popleft().after:
            if node.is_visited or not all(n.is_visited for n in node.before):
                continue
            first = node.before[0].label
            if any(before.label != first for before in node.before):
                yield _mixed(case, node, is_sink=node is sink)
                return
            labels = _label(node, first, labels)
            node.is_visited = True
            queue.append(node)


def _label(node: _Node, inherited: int, labels: int) -> int:
    if node.sibling is not None and node.sibling.is_visited:
        node.label = node.sibling.label
        return labels
    if node.is_decoupled:
        labels += 1
    node.label = labels if node.is_decoupled else inherited
    if node.sibling is not None:
        node.sibling.label = node.label
        node.sibling.is_visited = True
    return labels


def _mixed(case: Case, node: _Node, *, is_sink: bool) -> Problem:
    where = "the ensemble's outputs come" if is_sink else f"{node.model!r} reads"
    return Problem(
        "E25",
        f"in ensemble {case.name}, step of model '{node.model}' receives inputs "
        "originated from different decoupled models",
        at=("ensemble_scheduling",),
        hint=f"{where} from decoupled models, which respond independently of each "
        "other: their responses cannot be paired",
    )
