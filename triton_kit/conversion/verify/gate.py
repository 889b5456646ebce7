"""The accuracy gate: an artifact's outputs are compared with its original's."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto

from triton_kit.conversion.onnx.onnx_file import save_onnx
from triton_kit.conversion.precision.emulate import emulated, is_low
from triton_kit.conversion.precision.kernels import has_cuda_provider
from triton_kit.conversion.spec import Accuracy, OutputAccuracy
from triton_kit.conversion.verify.agreements import required_agreements
from triton_kit.conversion.verify.compare import Tally, rows_differ_db, tally_all
from triton_kit.conversion.verify.inputs import IDENTICAL
from triton_kit.conversion.workers.child import NoKernelError
from triton_kit.conversion.workers.models import (
    LEVELS,
    FeedFiles,
    run_onnx,
    run_plan,
)
from triton_kit.conversion.workers.samples import Outputs
from triton_kit.errors import VerifyError
from triton_kit.options.conversion import Gate

# The floor is for all that was run. One shape, and one row, has fewer values to average
# over and may be this much worse; none may be all wrong.
POINT_ALLOWANCE_DB = 10.0
ROW_ALLOWANCE_DB = 20.0
# A slice, such as a channel, may be this much worse than the floor, but not lost.
SLICE_ALLOWANCE_DB = 30.0
LOST_DB = 6.0
FEW_ROWS = 4  # a shape of fewer rows is judged as a row
# Share of whole numbers that must agree where no agreement was asked for.
EXACT_AGREEMENT = {"fp32": 1.0}
DEFAULT_AGREEMENT = 0.99
NOTE_CHARS = 200
MORE_SAMPLES = "give samples that it has outputs for (--verify-data), or a --range"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The original's outputs, computed once for every candidate."""

    feeds: FeedFiles
    outputs: tuple[Outputs, ...]
    rows_are_independent: bool
    timeout_s: float
    data: str  # what the inputs are, in words

    @property
    def points(self) -> tuple[str, ...]:
        """What each feed belongs to: a shape, or the user's samples."""
        return self.feeds.labels


def make_reference(
    feeds: FeedFiles, outputs: Sequence[Outputs], *, timeout_s: float, data: str
) -> Reference:
    """Make the original's outputs to `write_inputs` the reference.

    Args:
        feeds: the verification inputs on disk.
        outputs: one per feed.
        timeout_s: longest that one run of a candidate may take.

    Raises:
        VerifyError: no output holds a value, so any artifact would pass.
    """
    _check_proves_something(outputs)
    independent = [
        rows_differ_db(output) > 90
        for point, output in zip(feeds.labels, outputs, strict=True)
        if point == IDENTICAL
    ]
    return Reference(
        feeds=feeds,
        outputs=tuple(outputs),
        rows_are_independent=all(independent) and bool(independent),
        timeout_s=timeout_s,
        data=data,
    )


def _check_proves_something(outputs: Sequence[Outputs]) -> None:
    names = list(outputs[0])
    voids = [void for name in names if (void := _void(name, outputs))]
    if voids and len(voids) == len(names):
        raise VerifyError(
            f"the original's outputs hold no value to compare: {', '.join(voids)}",
            hint=MORE_SAMPLES,
        )


def _void(name: str, outputs: Sequence[Outputs]) -> str | None:
    """Say why an output cannot be compared; None where any feed gives it a value."""
    arrays = [output[name] for output in outputs]
    if any(a.size and (a.dtype.kind != "f" or np.isfinite(a).any()) for a in arrays):
        return None
    what = "NaN or Inf" if any(a.size for a in arrays) else "empty"
    return f"output {name!r} is {what} throughout"


def verify(
    artifact: Path,
    model: ModelProto,
    reference: Reference,
    *,
    gate: Gate,
    precision: str,
    levels: Sequence[str] = LEVELS,
    scratch: Path,
    root: Path | None = None,
) -> Accuracy:
    """Hold an artifact against its original.

    Args:
        artifact: an ONNX file.
        model: what is in it.
        levels: of ONNX Runtime's optimiser, the highest first; the first with right
            outputs is reported.
        scratch, root: folders for outputs, and of the user's function.

    Raises:
        VerifyError: an output is not what the gate requires; names the output.
    """
    check = _Check(reference, gate, precision)
    honest, method = _honest_form(artifact, model, scratch)
    outputs = check.outputs(computed := _run(honest, "off", reference, scratch))
    agreements = required_agreements(
        gate,
        reference.outputs,
        computed,
        root=root,
        scratch=scratch,
        timeout_s=reference.timeout_s,
    )
    # As it is, the artifact was run at `off` just now.
    higher = [level for level in levels if level != "off" or method != "run"]
    level, notes = _runtime_level(artifact, higher, check, reference, scratch)
    if level is None and method == "run":
        if "off" not in levels:
            raise VerifyError(f"it does not run at any level: {'; '.join(notes)}")
        level = "off"
    if has_cuda_provider():
        notes = (*notes, _verify_on_gpu(artifact, level or "all", check, scratch))
    return Accuracy(
        outputs=outputs,
        points=tuple(dict.fromkeys(reference.points)),
        method=method,
        runtime_level=level,
        agreements=agreements,
        data=reference.data,
        notes=(*_doubts(reference, outputs), *notes),
    )


def verify_plan(
    plan: Path, reference: Reference, *, gate: Gate, precision: str, scratch: Path
) -> tuple[OutputAccuracy, ...]:
    """Hold a TensorRT plan against the original, on the GPU that it was built on.

    Raises:
        VerifyError: it does not run, or its outputs are not what the gate requires.
    """
    outputs = run_plan(
        plan,
        reference.feeds,
        folder=scratch / "plan",
        timeout_s=reference.timeout_s,
    )
    return _Check(reference, gate, precision).outputs(
        [{name: a[name] for name in reference.outputs[0]} for a in outputs]
    )


def _honest_form(artifact: Path, model: ModelProto, scratch: Path) -> tuple[Path, str]:
    """Return what to run: the artifact, or the form of it that truly rounds."""
    if not is_low(model):
        return artifact, "run"
    path = scratch / "rounded.onnx"
    save_onnx(emulated(model), path)
    return path, "rounded"


def _run(model: Path, level: str, reference: Reference, scratch: Path) -> list[Outputs]:
    return run_onnx(
        model,
        reference.feeds,
        level=level,
        folder=scratch / "candidate",
        timeout_s=reference.timeout_s,
    )


def _runtime_level(
    artifact: Path,
    levels: Sequence[str],
    check: _Check,
    reference: Reference,
    scratch: Path,
) -> tuple[str | None, tuple[str, ...]]:
    """Find the highest level at which ONNX Runtime serves right outputs."""
    notes = []
    for level in levels:
        try:
            check.outputs(_run(artifact, level, reference, scratch))
        except NoKernelError as error:
            return None, (f"not run as it is on the CPU: {error.message}",)
        except VerifyError as error:
            reason = textwrap.shorten(error.message, NOTE_CHARS)
            notes.append(f"not at optimisation level {level}: {reason}")
        else:
            return level, tuple(notes)
    return None, tuple(notes)


def _verify_on_gpu(artifact: Path, level: str, check: _Check, scratch: Path) -> str:
    """Hold an artifact to the gate as ONNX Runtime's CUDA provider runs it.

    Raises:
        VerifyError: it does not open or run there, or its outputs differ.
    """
    try:
        figures = check.outputs(
            run_onnx(
                artifact,
                check.reference.feeds,
                level=level,
                folder=scratch / "gpu",
                timeout_s=check.reference.timeout_s,
                on_gpu=True,
            )
        )
    except VerifyError as error:
        raise VerifyError(
            f"on this machine's GPU: {error.message}",
            hint=error.hint or "to leave the GPU out, set CUDA_VISIBLE_DEVICES=-1",
        ) from error
    worst_db = min((output.snr_db for output in figures), default=float("inf"))
    return f"passed on this machine's GPU too (CUDA provider): {worst_db:.1f} dB"


class _Check:
    """Holds outputs against the reference; a fault is a VerifyError."""

    def __init__(self, reference: Reference, gate: Gate, precision: str) -> None:
        self.reference = reference
        self._gate = gate
        self._precision = precision

    def outputs(self, outputs: Sequence[Outputs]) -> tuple[OutputAccuracy, ...]:
        """Return the figures of every output, or say which one fails, and where."""
        reference = self.reference
        if [list(a) for a in outputs] != [list(a) for a in reference.outputs]:
            wanted = list(reference.outputs[0])
            raise VerifyError(f"outputs are {list(outputs[0])} instead of {wanted}")
        found = tuple(self._output(name, outputs) for name in reference.outputs[0])
        self._check_rows(outputs)
        is_judged = any(figures.top1_agreement is not None for figures in found)
        if self._gate.min_top1_agreement is not None and not is_judged:
            raise VerifyError(
                "no output looks like class scores, so there is no top-1 agreement",
                hint="choose what the outputs mean: --task",
            )
        return found

    def _output(self, name: str, outputs: Sequence[Outputs]) -> OutputAccuracy:
        floor = self._gate.snr_floor_db(self._precision)
        total = Tally()
        for point in dict.fromkeys(self.reference.points):
            at_point = self._tally(name, point, outputs)
            total += at_point
            faults = list(at_point.faults)
            row_floor = floor - ROW_ALLOWANCE_DB
            is_small = at_point.samples < FEW_ROWS
            point_floor = row_floor if is_small else floor - POINT_ALLOWANCE_DB
            faults += _too_low("SNR", at_point.snr_db, point_floor)
            faults += _too_low("SNR of one row", at_point.worst_row_db, row_floor)
            if faults:
                raise VerifyError(f"output {name!r} at {point}: {'; '.join(faults)}")
        if faults := self._faults(total, name, floor):
            raise VerifyError(f"output {name!r}: {'; '.join(faults)}")
        return total.figures(name)

    def _tally(self, name: str, point: str, outputs: Sequence[Outputs]) -> Tally:
        reference = self.reference
        chosen = [i for i, p in enumerate(reference.points) if p == point]
        return tally_all(
            [reference.outputs[i][name] for i in chosen],
            [outputs[i][name] for i in chosen],
            name=name,
        )

    def _faults(self, total: Tally, name: str, floor: float) -> list[str]:
        gate, figures = self._gate, total.figures(name)
        faults = _too_low("SNR", figures.snr_db, floor)
        slice_floor = max(min(floor, LOST_DB), floor - SLICE_ALLOWANCE_DB)
        what = f"SNR of {figures.worst_slice}"
        faults += _too_low(what, figures.worst_slice_snr_db, slice_floor)
        if gate.min_cosine is not None and figures.cosine < gate.min_cosine:
            faults.append(f"cosine {figures.cosine:.6f}, needs {gate.min_cosine}")
        most = gate.max_abs_error
        if most is not None and figures.max_abs_error > most:
            faults.append(
                f"largest error {figures.max_abs_error:.3g}, allowed {most:g}"
            )
        agreement, needed = figures.top1_agreement, self._needed_agreement(total)
        if agreement is not None and agreement < needed:
            what = "equal values" if total.is_exact else "top-1 agreement"
            faults.append(f"{what} {agreement:.4f}, needs {needed:g}")
        return faults

    def _needed_agreement(self, total: Tally) -> float:
        if self._gate.min_top1_agreement is not None:
            return self._gate.min_top1_agreement
        if not total.is_exact:
            return 0.0
        return EXACT_AGREEMENT.get(self._precision, DEFAULT_AGREEMENT)

    def _check_rows(self, outputs: Sequence[Outputs]) -> None:
        """Equal rows of a batch must have equal outputs (NVIDIA/TensorRT#4813)."""
        if not self.reference.rows_are_independent:
            return
        floor = self._gate.snr_floor_db(self._precision)
        for point, output in zip(self.reference.points, outputs, strict=True):
            if point == IDENTICAL and (found := rows_differ_db(output)) < floor:
                raise VerifyError(
                    "identical rows of one batch have different outputs: "
                    f"{found:.1f} dB, needs {floor:g} dB"
                )


def _too_low(what: str, found_db: float, floor_db: float) -> list[str]:
    if found_db >= floor_db:
        return []
    digits = 1 if round(found_db, 1) < floor_db else 3  # never "60.0, needs 60"
    return [f"{what} {found_db:.{digits}f} dB, needs {floor_db:g} dB"]


def _doubts(reference: Reference, outputs: Sequence[OutputAccuracy]) -> tuple[str, ...]:
    """Say where the figures prove little."""
    notes = []
    for output in outputs:
        if void := _void(output.name, reference.outputs):
            notes.append(f"{void}, so its figures prove nothing: {MORE_SAMPLES}")
        values = [
            a[output.name].astype(np.float64)
            for a in reference.outputs
            if a[output.name].dtype.kind == "f"
        ]
        flat = np.concatenate([v.ravel() for v in values]) if values else np.zeros(0)
        flat = flat[np.isfinite(flat)]
        if flat.size > 1 and flat.std() < 1e-3 * np.abs(flat).max():
            notes.append(
                f"output {output.name!r} hardly varies over these samples, so its "
                "figures prove little: give real ones (--verify-data)"
            )
    if IDENTICAL in reference.points and not reference.rows_are_independent:
        notes.append("the original itself has different outputs for identical rows")
    return tuple(notes)
