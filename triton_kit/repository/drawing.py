"""The ensembles of a repository as pictures: text, Mermaid, Graphviz."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from triton_kit.errors import RepositoryError, did_you_mean
from triton_kit.repository.check.rules.sequence import data_type_name
from triton_kit.repository.check.rules.warmup import dims_text
from triton_kit.repository.difference import read_configs
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
class Picture:
    """One ensemble: its ends, its steps' models and the tensors between them."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: tuple[str, ...]
    edges: tuple[Edge, ...]
    loose: tuple[str, ...]


def pictures(root: Path, name: str | None = None) -> list[Picture]:
    """Return the ensembles of a repository, or the one of that name.

    Raises:
        RepositoryError: there is none of that name, or no config that can be read.
    """
    found = read_configs(root)
    if not any(config.ByteSize() for config in found.values()):
        raise RepositoryError(
            f"{root}: expected a model repository, found no folder with a config.pbtxt",
            hint="name the folder that holds the model folders",
        )
    configs = {
        model or root.resolve().name: config
        for model, config in found.items()
        if config.HasField("ensemble_scheduling")
    }
    if name is None:
        return [picture(model, config) for model, config in configs.items()]
    if name not in configs:
        hint = did_you_mean(name, configs) if configs else "it has no ensemble at all"
        raise RepositoryError(f"{root}: there is no ensemble {name!r}", hint=hint)
    return [picture(name, configs[name])]


def picture(name: str, config: Message) -> Picture:
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
        for source, target, tensor in _ends(one, f"g{group}"):
            lines.append(f'  {source} -->|"{_safe(tensor)}"| {target}')
    return "\n".join(lines)


def _ends(one: Picture, prefix: str) -> Iterator[tuple[str, str, str]]:
    for edge in one.edges:
        source = f"s{edge.source}" if edge.source else _INPUT
        target = f"s{edge.target}" if edge.target else _OUTPUT
        yield prefix + source, prefix + target, edge.tensor


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
        for source, target, tensor in _ends(one, f"g{group}"):
            lines.append(f"  {source} -> {target} [label={_dot_quoted(tensor)}];")
    return "\n".join([*lines, "}"])


def _dot_quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


FORMATS = {"text": as_text, "mermaid": as_mermaid, "dot": as_dot}
