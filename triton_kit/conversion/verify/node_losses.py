"""How much signal each node loses: the values inside two graphs, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

from triton_kit.conversion.onnx.onnx_file import save_for_worker, value_types
from triton_kit.conversion.precision.emulate import emulated, is_low
from triton_kit.conversion.verify.compare import tally
from triton_kit.conversion.workers.models import FeedFiles, run_onnx
from triton_kit.conversion.workers.samples import Outputs

_SUFFIXES = ("", "_fp16", "_bf16")
_CLIPS = ("Relu", "Clip")
_REPAIRED_DB = 6.0
MOST_DB = 150.0  # float32 rounding; above it two values are the same


@dataclass(frozen=True, slots=True)
class NodeLoss:
    """A node of the float32 graph, and how much signal its value loses."""

    node: str
    op_type: str
    snr_db: float
    lost_db: float  # against the worst of its inputs


def node_losses(
    exact: ModelProto,
    candidate: ModelProto,
    feeds: FeedFiles,
    *,
    scratch: Path,
    timeout_s: float,
) -> list[NodeLoss]:
    """Return the nodes whose values lose most, the worst first.

    Both graphs come from one source, so their values have the same names, but for the
    suffix that lowering adds. One feed is run.

    Raises:
        VerifyError: a graph does not run with its values exposed.
    """
    rounded = emulated(candidate) if is_low(candidate) else candidate
    pairs = _pairs(exact, rounded)
    one = FeedFiles(feeds.names, feeds.paths[:1], feeds.labels[:1])
    left = _run(exact, list(pairs), one, scratch / "exact", timeout_s)
    right = _run(rounded, list(pairs.values()), one, scratch / "lower", timeout_s)
    found = {
        name: min(MOST_DB, _snr(left, name, right, other))
        for name, other in pairs.items()
    }
    for name in set(_absorbed(exact, found)):
        del found[name]
    listed = [s for node in exact.graph.node if (s := _loss(node, found))]
    return sorted(listed, key=lambda s: (-s.lost_db, s.snr_db))


def _absorbed(model: ModelProto, found: Mapping[str, float]) -> list[str]:
    """Return activations whose value is another one in the candidate, and rightly so.

    ONNX Runtime's quantiser drops a Relu that the quantiser after it does as well: the
    name lives on before that, and what reads it is right all the same.
    """
    made = {node.output[0]: node for node in model.graph.node if node.op_type in _CLIPS}
    return [
        name
        for name in found
        if name in made
        for reader in model.graph.node
        if name in reader.input
        and found.get(reader.output[0], -MOST_DB) > found[name] + _REPAIRED_DB
    ]


def _pairs(exact: ModelProto, candidate: ModelProto) -> dict[str, str]:
    types, others = value_types(exact), value_types(candidate)
    made = {name for node in candidate.graph.node for name in node.output}
    pairs = {}
    for node in exact.graph.node:
        for name in node.output:
            if types.get(name) != TensorProto.FLOAT:
                continue
            for suffix in _SUFFIXES:
                other = name + suffix
                if other in made and others.get(other) == TensorProto.FLOAT:
                    pairs[name] = other
    return pairs


def _run(
    model: ModelProto,
    names: list[str],
    feeds: FeedFiles,
    folder: Path,
    timeout_s: float,
) -> Outputs:
    copy = ModelProto()
    copy.CopyFrom(model)
    there = {value.name for value in copy.graph.output}
    for name in names:
        if name not in there:
            copy.graph.output.append(ValueInfoProto(name=name))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "exposed.onnx"
    save_for_worker(copy, path)
    return run_onnx(path, feeds, level="off", folder=folder, timeout_s=timeout_s)[0]


def _snr(left: Outputs, name: str, right: Outputs, other: str) -> float:
    return max(-MOST_DB, tally(left[name], right[other]).snr_db)


def _loss(node: NodeProto, found: Mapping[str, float]) -> NodeLoss | None:
    after = [found[name] for name in node.output if name in found]
    if not after:
        return None
    before = [found[name] for name in node.input if name in found]
    worst = min(after)
    lost = min(before, default=MOST_DB) - worst
    return NodeLoss(node.name, node.op_type, worst, lost)
