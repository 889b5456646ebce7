"""Find the nodes that must stay float32 for the accuracy gate to pass."""

from __future__ import annotations

from dataclasses import replace

from triton_kit.conversion.precision.quantize import (
    BETWEEN_CONVOLUTIONS,
    DYNAMIC_OPS,
    QUANTIZED_OPS,
)
from triton_kit.conversion.search.attempt import (
    Attempt,
    attempt,
    candidate_of,
    losses_of,
)
from triton_kit.conversion.search.work import Work
from triton_kit.conversion.verify.node_losses import NodeLoss
from triton_kit.errors import ConvertError, VerifyError
from triton_kit.options.conversion import QUANTIZED


def bisect(work: Work, failure: VerifyError) -> Attempt:
    """Keep a set of nodes in float32 that makes the gate pass and has none to spare.

    Nodes are ranked by the signal that they lose. The shortest prefix of that list that
    passes is found by doubling; then nodes leave the set, in halves, quarters and one
    by one, as long as the gate still passes.

    Raises:
        VerifyError: `failure`, where no set passes but that of all nodes.
    """
    ranked = [
        loss.node
        for loss in losses_of(work, candidate_of(work))
        if _is_movable(work, loss)
    ]
    kept, done = _passing_prefix(work, ranked)
    kept, done = _smallest(work, kept, done)
    if done is None:
        raise failure
    note = f"{len(kept)} of {len(ranked)} nodes stay fp32 for accuracy"
    return replace(done, notes=(*done.notes, note))


def _passing_prefix(work: Work, ranked: list[str]) -> tuple[list[str], Attempt | None]:
    length = 1
    while length < len(ranked):
        if done := _with_kept(work, ranked[:length]):
            return ranked[:length], done
        length *= 2
    return ranked, _with_kept(work, ranked)


def _smallest(
    work: Work, kept: list[str], done: Attempt | None
) -> tuple[list[str], Attempt | None]:
    """Let nodes leave the set until no single one can; the least loss leaves first."""
    size = max(1, len(kept) // 2)
    while True:
        has_shrunk = False
        for end in range(len(kept), 0, -size):
            fewer = kept[: max(0, end - size)] + kept[end:]
            if fewer and (better := _with_kept(work, fewer)):
                kept, done, has_shrunk = fewer, better, True
        if size == 1 and not has_shrunk:
            return kept, done
        size = max(1, size // 2)


def _is_movable(work: Work, loss: NodeLoss) -> bool:
    """Say whether keeping a node in float32 changes anything."""
    if work.spec.precision == "int8-dynamic":
        return loss.op_type in (*DYNAMIC_OPS, "Gemm")
    if work.spec.precision in QUANTIZED:
        between = () if work.spec.is_symmetric else BETWEEN_CONVOLUTIONS
        return loss.op_type in (*QUANTIZED_OPS, *between)
    return True


def _with_kept(work: Work, nodes: list[str]) -> Attempt | None:
    kept = dict.fromkeys(nodes, "costs too much accuracy")
    try:
        return attempt(work, extra_kept=kept, name_nodes=False)
    except (ConvertError, VerifyError):
        return None
