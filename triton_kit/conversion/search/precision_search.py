"""The precision search: the cheapest precision that passes the accuracy gate."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace

from triton_kit.conversion.onnx.onnx_file import artifact_files, bodies
from triton_kit.conversion.precision.kernels import has_cuda_provider
from triton_kit.conversion.search.attempt import Attempt, attempt
from triton_kit.conversion.search.bisect import bisect
from triton_kit.conversion.search.timing import AS_FAST, cheapest, timed
from triton_kit.conversion.search.work import Work
from triton_kit.conversion.spec import ConvertSpec, TriedPrecision
from triton_kit.conversion.verify.gate import NOTE_CHARS
from triton_kit.errors import ConvertError, VerifyError
from triton_kit.options.conversion import AUTO, CALIBRATED, QUANTIZED, Precision

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
_SPARING = "int8 for large products alone: with all operators"
_NO_BISECT = "; with --bisect, nodes stay in fp32 until it passes"
_NO_SAMPLES = "no calibration samples"


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
    """Return the fastest candidate that passes, as far as they run on this machine.

    Where they do not, the list of precisions is the order, and the first one is taken.
    """
    on_gpu = _runs_on_cuda_provider(work.spec)
    kind = "onnx on a GPU" if on_gpu else work.spec.format
    is_timed = kind == "onnx" or (on_gpu and has_cuda_provider())
    passed: list[Attempt] = []
    rows: list[TriedPrecision] = []
    refused: list[TriedPrecision] = []
    for precision in _SEARCHED[kind]:
        try:
            done = _of_precision(work, precision)
        except (ConvertError, VerifyError) as error:
            # Its own message names the source and the precision first: the table does.
            why_not = error.message.removeprefix(f"{work.spec.source} as {precision}: ")
            if isinstance(error, VerifyError) and work.spec.bisect is None:
                why_not += _NO_BISECT if precision in QUANTIZED else ""
            refused.append(TriedPrecision(precision=precision, why_not=why_not))
            continue
        if kind == "onnx" and done.accuracy.runtime_level is None:
            row = replace(_row(done, precision), why_not="does not run on this CPU")
            refused.append(row)
            continue
        passed.append(done)
        rows.append(_row(done, precision))
        if not is_timed:
            break
    if not passed:
        reasons = "; ".join(f"{row.precision}: {row.why_not}" for row in refused)
        raise VerifyError(f"{work.spec.source}: no precision passes: {reasons}")
    if is_timed and len(passed) > 1:
        rows = timed(work, passed, rows, gpu=on_gpu)
    return _chosen(passed, rows, refused)


def _of_precision(work: Work, precision: Precision) -> Attempt:
    if precision in CALIBRATED and work.spec.calibration is None:
        raise ConvertError(_NO_SAMPLES)
    # Of several candidates each bisect would be waited for: only if it is asked for.
    bisects = bool(work.spec.bisect)
    spec = replace(work.spec, precision=precision, bisect=bisects)
    return _best_effort(replace(work, spec=spec))


def _row(done: Attempt, precision: Precision) -> TriedPrecision:
    return TriedPrecision(
        precision=precision,
        bytes=sum(file.stat().st_size for file in artifact_files(done.path)),
        snr_db=done.accuracy.min_snr_db,
    )


def _chosen(
    passed: Sequence[Attempt],
    rows: Sequence[TriedPrecision],
    refused: Sequence[TriedPrecision],
) -> Attempt:
    best = cheapest(rows)
    others = [
        row
        if index == best or row.why_not
        else replace(row, why_not=_why_not(row, rows[best]))
        for index, row in enumerate(rows)
    ]
    done = passed[best]
    return replace(done, tried=(*others, *refused))


def _why_not(row: TriedPrecision, best: TriedPrecision) -> str:
    if (row.seconds or 0.0) > AS_FAST * (best.seconds or 0.0):
        return f"slower than {best.precision}"
    return f"as fast as {best.precision}, and larger"


def _best_effort(work: Work) -> Attempt:
    try:
        return _in_any_form(work)
    except VerifyError as error:
        if not _bisects(work.spec):
            raise
        return bisect(replace(work, is_sparing=_has_forms(work.spec)), error)


def _bisects(spec: ConvertSpec) -> bool:
    if spec.bisect is None:
        return spec.precision == "int8" and not spec.sparsity
    return spec.bisect and spec.precision != "fp32"


def _in_any_form(work: Work) -> Attempt:
    """Return the attempt that passes; some precisions have a second, careful form.

    int8 for CPUs is for large products alone then; fp16 leaves bodies of control flow
    in float32, as no values inside of them are observed.
    """
    try:
        return attempt(work, name_nodes=not _bisects(work.spec))
    except VerifyError as error:
        kept = _with_bodies(work) if work.spec.precision == "fp16" else {}
        if not _has_forms(work.spec) and not kept:
            raise
        careful = work if kept else replace(work, is_sparing=True)
        try:
            done = attempt(careful, extra_kept=kept, name_nodes=False)
        except (ConvertError, VerifyError):
            raise error from None
        form = "bodies of control flow in fp32: in fp16" if kept else _SPARING
        note = f"{form}, {error.message}"
        return replace(done, notes=(*done.notes, textwrap.shorten(note, NOTE_CHARS)))


def _with_bodies(work: Work) -> dict[str, str]:
    nodes = work.prepared.model.graph.node
    return {node.name: "values inside may overflow" for node in nodes if bodies(node)}


def _has_forms(spec: ConvertSpec) -> bool:
    is_own = spec.calibration is not None and spec.calibration.quantizer == "own"
    return spec.precision == "int8" and not spec.is_symmetric and is_own
