"""Ensembles, and models that call others, as pictures: text, Mermaid, Graphviz."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from triton_kit.errors import RepositoryError, did_you_mean
from triton_kit.repository.check.rules.sequence import data_type_name
from triton_kit.repository.check.rules.warmup import dims_text
from triton_kit.repository.difference import read_configs
from triton_kit.triton.calls import called_models
from triton_kit.triton.schema import Message

_INPUT, _OUTPUT = "input", "output"


@dataclass(frozen=True, slots=True)
class Edge:
    """A tensor from where it is written to where it is read.

    `source` and `target` are numbers of steps, from 1; 0 is the ensemble's outside.
    """

    tensor: str
    source: int
    target: int


@dataclass(frozen=True, slots=True)
class Call:
    """A Python model that asks another model: the number of its step, and the other."""

    source: int
    model: str


@dataclass(frozen=True, slots=True)
class Picture:
    """One ensemble: its ends, its steps' models and the tensors between them.

    A model that calls others is a picture of its own, with itself as the only step.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: tuple[str, ...]
    edges: tuple[Edge, ...]
    loose: tuple[str, ...]
    calls: tuple[Call, ...] = ()


def pictures(root: Path, name: str | None = None) -> list[Picture]:
    """Return the ensembles of a repository, and the models that call others.

    Such a model has no picture of its own where it is a step of an ensemble.

    Args:
        root: the repository.
        name: return this one alone.

    Raises:
        RepositoryError: there is none of that name, or no config that can be read.
    """
    found = read_configs(root)
    if not any(config.ByteSize() for config in found.values()):
        raise RepositoryError(
            f"{root}: expected a model repository, found no folder with a config.pbtxt",
            hint="name the folder that holds the model folders",
        )
    named = {model or root.resolve().name: found[model] for model in found}
    drawn = draw(named, name)
    if name is None or drawn:
        return drawn
    known = [one.name for one in draw(named)]
    hint = did_you_mean(name, known) if known else "it has no ensemble at all"
    raise RepositoryError(f"{root}: there is no ensemble {name!r}", hint=hint)


def draw(named: Mapping[str, Message], name: str | None = None) -> list[Picture]:
    """Return the pictures of configs by model; of one model, if it has any."""
    calls = {model: called_models(config) for model, config in named.items()}
    drawn = {
        model: _picture(model, config, calls)
        for model, config in named.items()
        if config.HasField("ensemble_scheduling")
    }
    steps = {step for one in drawn.values() for step in one.steps}
    drawn |= {
        model: _caller(model, named[model], calls[model])
        for model in calls
        if calls[model] and (model == name or model not in steps)
    }
    if name is None:
        return list(drawn.values())
    return [drawn[name]] if name in drawn else []


def _caller(name: str, config: Message, calls: Sequence[str]) -> Picture:
    """Draw a model that calls others, with all its tensors."""
    reads = [Edge(tensor.name, 0, 1) for tensor in config.input]
    writes = [Edge(tensor.name, 1, 0) for tensor in config.output]
    return Picture(
        name=name,
        inputs=tuple(_described(tensor) for tensor in config.input),
        outputs=tuple(_described(tensor) for tensor in config.output),
        steps=(name,),
        edges=(*reads, *writes),
        loose=(),
        calls=tuple(Call(1, model) for model in calls),
    )


def _picture(name: str, config: Message, calls: Mapping[str, Sequence[str]]) -> Picture:
    """Find out who writes and who reads each tensor of an ensemble."""
    steps = config.ensemble_scheduling.step
    writer = {tensor.name: 0 for tensor in config.input}
    for number, step in enumerate(steps, 1):
        writer |= dict.fromkeys(step.output_map.values(), number)
    edges, loose = [], []
    for number, step in enumerate(steps, 1):
        for tensor in sorted(set(step.input_map.values())):
            if tensor in writer:
                edges.append(Edge(tensor, writer[tensor], number))
            else:
                loose.append(tensor)
    for tensor in config.output:
        if tensor.name in writer:
            edges.append(Edge(tensor.name, writer[tensor.name], 0))
        else:
            loose.append(tensor.name)
    return Picture(
        name=name,
        inputs=tuple(_described(tensor) for tensor in config.input),
        outputs=tuple(_described(tensor) for tensor in config.output),
        steps=tuple(step.model_name for step in steps),
        edges=tuple(edges),
        loose=tuple(dict.fromkeys(loose)),
        calls=tuple(
            Call(number, model)
            for number, step in enumerate(steps, 1)
            for model in calls.get(step.model_name, ())
        ),
    )


def _described(tensor: Message) -> str:
    kind = data_type_name(tensor.data_type).removeprefix("TYPE_")
    return f"{tensor.name} {kind} {dims_text(tensor.dims)}"


def as_text(drawn: Sequence[Picture]) -> str:
    """Write each ensemble as a list of its steps."""
    return "\n\n".join("\n".join(_text(one)) for one in drawn)


def _text(one: Picture) -> Iterator[str]:
    yield one.name
    for tensor in one.inputs:
        yield f"  input   {tensor}"
    for number, model in enumerate(one.steps, 1):
        reads = [e.tensor for e in one.edges if e.target == number]
        writes = dict.fromkeys(e.tensor for e in one.edges if e.source == number)
        yield f"  step {number}  {model}: {', '.join(reads)} -> {', '.join(writes)}"
        if called := [call.model for call in one.calls if call.source == number]:
            yield f"          calls {', '.join(called)}"
    for tensor in one.outputs:
        yield f"  output  {tensor}"
    for name in one.loose:
        yield f"  not written: {name}"


def as_mermaid(drawn: Sequence[Picture]) -> str:
    """Write the ensembles as one Mermaid flowchart."""
    lines = ["flowchart LR"]
    for group, one in enumerate(drawn):
        lines.append(f'  subgraph g{group}["{_safe(one.name)}"]')
        for number, model in enumerate(one.steps, 1):
            lines.append(f'    g{group}s{number}["{_safe(model)}"]')
        lines.append("  end")
        for end, tensors in ((_INPUT, one.inputs), (_OUTPUT, one.outputs)):
            if tensors:
                label = "<br/>".join(_safe(tensor) for tensor in tensors)
                lines.append(f'  g{group}{end}(["{label}"])')
        for source, target, tensor in ends_of(one, f"g{group}"):
            lines.append(f'  {source} -->|"{_safe(tensor)}"| {target}')
        for source, target, model in calls_of(one, f"g{group}"):
            lines.append(f'  {source} -.->|calls| {target}["{_safe(model)}"]')
    return "\n".join(lines)


def ends_of(one: Picture, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield the two nodes of each tensor, and the tensor."""
    for edge in one.edges:
        source = f"s{edge.source}" if edge.source else _INPUT
        target = f"s{edge.target}" if edge.target else _OUTPUT
        yield prefix + source, prefix + target, edge.tensor


def calls_of(one: Picture, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield the two nodes of each call, and the called model."""
    outside = dict.fromkeys(c.model for c in one.calls if c.model not in one.steps)
    nodes = {model: f"c{number}" for number, model in enumerate(outside, 1)}
    for number, model in enumerate(one.steps, 1):
        nodes.setdefault(model, f"s{number}")
    for call in one.calls:
        yield f"{prefix}s{call.source}", prefix + nodes[call.model], call.model


def _safe(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")


def as_dot(drawn: Sequence[Picture]) -> str:
    """Write the ensembles as one Graphviz digraph."""
    lines = ["digraph repository {", "  rankdir=LR;", "  node [shape=box];"]
    for group, one in enumerate(drawn):
        lines.append(f"  subgraph cluster_{group} {{")
        lines.append(f"    label={_dot_quoted(one.name)};")
        for number, model in enumerate(one.steps, 1):
            lines.append(f"    g{group}s{number} [label={_dot_quoted(model)}];")
        lines.append("  }")
        for end, tensors in ((_INPUT, one.inputs), (_OUTPUT, one.outputs)):
            if tensors:
                label = _dot_quoted("\n".join(tensors))
                lines.append(f"  g{group}{end} [shape=oval label={label}];")
        for source, target, tensor in ends_of(one, f"g{group}"):
            lines.append(f"  {source} -> {target} [label={_dot_quoted(tensor)}];")
        for source, target, model in calls_of(one, f"g{group}"):
            lines.append(f"  {target} [label={_dot_quoted(model)}];")
            lines.append(f"  {source} -> {target} [style=dashed label=calls];")
    return "\n".join([*lines, "}"])


def _dot_quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


FORMATS = {"text": as_text, "mermaid": as_mermaid, "dot": as_dot}
