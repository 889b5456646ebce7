"""Choose a precision, and the nodes that must not have it, by the accuracy gate."""

from __future__ import annotations

from dataclasses import replace

from triton_kit.conversion.candidates.attempt import (
    Attempt,
    Work,
    attempt,
    candidate_of,
    find_suspects,
)
from triton_kit.conversion.precision.emulate import holds
from triton_kit.conversion.precision.quantize import QUANTIZED_OPS
from triton_kit.conversion.spec import AUTO, QUANTIZED, Precision
from triton_kit.conversion.verify.blame import Suspect
from triton_kit.errors import ConvertError, VerifyError

# The cheapest first. ONNX Runtime's CPU kernels know neither fp8 nor bf16.
_LADDERS: dict[str, tuple[Precision, ...]] = {
    "onnx": ("int8", "fp16", "fp32"),
    "plan": ("int8", "fp8", "fp16", "bf16", "fp32"),
    "rtx": ("int8", "fp8", "fp16", "bf16", "fp32"),
}


def settle(work: Work) -> Attempt:
    """Return the attempt that the spec asks for: one precision, or the cheapest.

    Raises:
        ConvertError, VerifyError: no attempt passed.
    """
    if work.spec.precision == AUTO:
        return _cheapest(work)
    return _best_effort(work)


def _cheapest(work: Work) -> Attempt:
    notes: list[str] = []
    for precision in _LADDERS[work.spec.format]:
        if precision in QUANTIZED and work.spec.calibration is None:
            notes.append(f"{precision} not tried: no calibration samples")
            continue
        try:
            done = _best_effort(
                replace(work, spec=replace(work.spec, precision=precision))
            )
        except (ConvertError, VerifyError) as error:
            notes.append(f"{precision} does not pass: {error.message}")
            continue
        if holds(done.candidate.model, precision):
            return replace(done, notes=(*notes, *done.notes))
        notes.append(f"{precision} not chosen: nothing in it became {precision}")
    raise VerifyError(f"{work.spec.source}: no precision passes: {'; '.join(notes)}")


def _best_effort(work: Work) -> Attempt:
    try:
        return attempt(work, blame=not work.spec.bisect)
    except VerifyError as error:
        if not work.spec.bisect or work.spec.precision == "fp32":
            raise
        return _bisect(work, error)


def _bisect(work: Work, failure: VerifyError) -> Attempt:
    """Keep the fewest nodes in float32 that make the gate pass.

    Nodes are ranked by the signal that they lose; the shortest prefix of that list that
    passes is found by doubling, then halving. Passing is taken to be monotonous in the
    length, which it nearly is; what is returned did pass.
    """
    ranked = [
        suspect.node
        for suspect in find_suspects(work, candidate_of(work))
        if _is_movable(work, suspect)
    ]
    low, high, done = 0, 1, None
    while done is None and low < len(ranked):
        high = min(high, len(ranked))
        done = _with_kept(work, ranked[:high])
        low, high = (low, high) if done else (high, high * 2)
    if done is None:
        raise failure
    while high - low > 1:
        middle = (low + high) // 2
        if better := _with_kept(work, ranked[:middle]):
            high, done = middle, better
        else:
            low = middle
    note = f"{high} of {len(ranked)} nodes stay fp32 for accuracy"
    return replace(done, notes=(*done.notes, note))


def _is_movable(work: Work, suspect: Suspect) -> bool:
    """Say whether keeping a node in float32 changes anything."""
    if work.spec.precision in QUANTIZED:
        return suspect.op_type in QUANTIZED_OPS
    return True


def _with_kept(work: Work, nodes: list[str]) -> Attempt | None:
    kept = dict.fromkeys(nodes, "costs too much accuracy")
    try:
        return attempt(work, extra_kept=kept, blame=False)
    except (ConvertError, VerifyError):
        return None
