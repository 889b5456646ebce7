"""Find the nodes that must stay float32 for the accuracy gate to pass."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from triton_kit.conversion.precision.candidate import Candidate
from triton_kit.conversion.precision.quantize import (
    BETWEEN_CONVOLUTIONS,
    DYNAMIC_OPS,
    QUANTIZED_OPS,
)
from triton_kit.conversion.precision.share import LEAST
from triton_kit.conversion.search.attempt import (
    NODES_NAMED,
    Attempt,
    attempt,
    candidate_of,
    losses_of,
)
from triton_kit.conversion.search.work import Work
from triton_kit.conversion.verify.node_losses import NodeLoss
from triton_kit.errors import ConvertError, VerifyError
from triton_kit.options.conversion import CALIBRATED, QUANTIZED


def bisect(work: Work, failure: VerifyError) -> Attempt:
    """Keep a set of nodes in float32 that makes the gate pass and has none to spare.

    Nodes are ranked by the signal that they lose. The shortest prefix of that list that
    passes is found by doubling; then nodes leave the set, in halves, quarters and one
    by one, as long as the gate still passes.

    Raises:
        VerifyError: no set passes; `failure` is that of the empty one.
    """
    candidate = candidate_of(work)
    losses = losses_of(work, candidate)
    movable = [loss.node for loss in losses if _is_movable(work, loss)]
    found = _passing_prefix(work, _affordable(work, candidate, movable))
    if found is None:
        raise _without_success(work, failure) from failure
    kept, done = _smallest(work, *found)
    names = ", ".join(map(repr, kept[:NODES_NAMED]))
    more = ", ..." if len(kept) > NODES_NAMED else ""
    note = f"{len(kept)} of {len(movable)} nodes stay fp32 for accuracy: {names}{more}"
    return replace(done, notes=(*done.notes, note))


def _affordable(work: Work, candidate: Candidate, nodes: list[str]) -> list[str]:
    """Return the nodes that may all be kept: enough work stays in the precision."""
    works = {name: count or 0 for name, count in work.observed.works.items()}
    spare = sum(works.values()) * (1 - LEAST)
    spare -= sum(works.get(name, 0) for name in candidate.kept)
    found = []
    for name in nodes:
        own = works.get(name, 0)
        if own <= max(0, spare):
            spare -= own
            found.append(name)
    return found


def _passing_prefix(work: Work, ranked: list[str]) -> tuple[list[str], Attempt] | None:
    """Return the first nodes that make the gate pass when they stay float32."""
    length = 1
    while ranked:
        kept = ranked[:length]
        with suppress(ConvertError, VerifyError):
            return kept, _with_kept(work, kept)
        if length >= len(ranked):
            break
        length *= 2
    return None


def _without_success(work: Work, failure: VerifyError) -> VerifyError:
    precision = work.spec.precision
    other = "fp16" if precision in QUANTIZED else "fp32"
    more = ", calibrate on more samples" if precision in CALIBRATED else ""
    return VerifyError(
        f"{work.spec.source} as {precision}: {failure.message}; no set of nodes kept "
        f"in fp32 passes and leaves half of the work in {precision}",
        hint=f"choose {other} or auto (--precision){more}, or set the floor that you "
        "accept (--min-snr-db)",
    )


def _smallest(work: Work, kept: list[str], done: Attempt) -> tuple[list[str], Attempt]:
    """Let nodes leave the set until no single one can; the least loss leaves first."""
    size = max(1, len(kept) // 2)
    while True:
        has_shrunk = False
        for end in range(len(kept), 0, -size):
            fewer = kept[: max(0, end - size)] + kept[end:]
            if not fewer:
                continue
            with suppress(ConvertError, VerifyError):
                done = _with_kept(work, fewer)
                kept, has_shrunk = fewer, True
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


def _with_kept(work: Work, nodes: list[str]) -> Attempt:
    kept = dict.fromkeys(nodes, "costs too much accuracy")
    return attempt(work, extra_kept=kept, name_nodes=False)
