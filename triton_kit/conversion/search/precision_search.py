"""The precision search: the cheapest precision that passes the accuracy gate."""

from __future__ import annotations

import textwrap
from dataclasses import replace

from triton_kit.conversion.search.attempt import Attempt, attempt
from triton_kit.conversion.search.bisect import bisect
from triton_kit.conversion.search.work import Work
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.verify.gate import NOTE_CHARS
from triton_kit.errors import ConvertError, VerifyError
from triton_kit.options.conversion import AUTO, CALIBRATED, Precision

# The cheapest first. ONNX Runtime's CPU kernels know neither fp8 nor bf16; on a GPU its
# Q/DQ graphs are slower than fp32 (ResNet-50 on an H100: 13.8 ms instead of 8.4).
_SEARCHED: dict[str, tuple[Precision, ...]] = {
    "onnx": ("int8", "int8-dynamic", "fp16", "fp32"),
    "plan": ("int8", "fp8", "fp16", "bf16", "fp32"),
    "onnx on a GPU": ("fp16", "fp32"),
    "rtx": ("int8", "fp8", "fp16", "bf16", "fp32"),
}
_SLOW_INT8 = (
    "int8 on a GPU: ONNX Runtime's CUDA provider runs it slower than fp32; choose "
    "fp16, or a plan of TensorRT"
)


def search(work: Work) -> Attempt:
    """Return the attempt that the spec asks for: one precision, or the cheapest.

    Raises:
        ConvertError, VerifyError: no attempt passed.
    """
    if work.spec.precision == AUTO:
        return _cheapest(work)
    done = _best_effort(work)
    if work.spec.precision == "int8" and _runs_on_cuda_provider(work.spec):
        return replace(done, notes=(*done.notes, _SLOW_INT8))
    return done


def _runs_on_cuda_provider(spec: ConvertSpec) -> bool:
    return spec.format == "onnx" and spec.device == "gpu"


def _cheapest(work: Work) -> Attempt:
    notes: list[str] = []
    kind = "onnx on a GPU" if _runs_on_cuda_provider(work.spec) else work.spec.format
    for precision in _SEARCHED[kind]:
        if precision in CALIBRATED and work.spec.calibration is None:
            notes.append(f"{precision} not tried: no calibration samples")
            continue
        try:
            done = _best_effort(
                replace(work, spec=replace(work.spec, precision=precision))
            )
        except (ConvertError, VerifyError) as error:
            notes.append(f"{precision} does not pass: {error.message}")
            continue
        return replace(done, notes=(*notes, *done.notes))
    raise VerifyError(f"{work.spec.source}: no precision passes: {'; '.join(notes)}")


def _best_effort(work: Work) -> Attempt:
    try:
        return _in_any_form(work)
    except VerifyError as error:
        if not work.spec.bisect or work.spec.precision == "fp32":
            raise
        return bisect(replace(work, is_sparing=_has_forms(work.spec)), error)


def _in_any_form(work: Work) -> Attempt:
    """Return the attempt that passes; int8 for CPUs has a second, more careful form."""
    try:
        return attempt(work, name_nodes=not work.spec.bisect)
    except VerifyError as error:
        if not _has_forms(work.spec):
            raise
        try:
            done = attempt(replace(work, is_sparing=True), name_nodes=False)
        except (ConvertError, VerifyError):
            raise error from None
        note = f"int8 for large products alone: with all operators, {error.message}"
        return replace(done, notes=(*done.notes, textwrap.shorten(note, NOTE_CHARS)))


def _has_forms(spec: ConvertSpec) -> bool:
    is_own = spec.calibration is not None and spec.calibration.quantizer == "own"
    return spec.precision == "int8" and not spec.is_symmetric and is_own
