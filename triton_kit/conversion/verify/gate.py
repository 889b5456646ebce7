"""The accuracy gate: an artifact's outputs are compared with its original's."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from onnx import ModelProto

from triton_kit.artifact import inspect_onnx
from triton_kit.conversion.onnx.onnx_file import save_for_worker
from triton_kit.conversion.precision.emulate import emulated, is_low
from triton_kit.conversion.precision.kernels import has_cuda_provider
from triton_kit.conversion.spec import Accuracy, OutputAccuracy
from triton_kit.conversion.verify.agreements import required_agreements
from triton_kit.conversion.verify.check import LEVEL_MARGIN_DB, Check, Reference
from triton_kit.conversion.verify.compare import equal_rows
from triton_kit.conversion.verify.inputs import IDENTICAL
from triton_kit.conversion.verify.own_noise import OwnNoise
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

NOTE_CHARS = 200
_CLOSED = "not run as it is: NumPy has no bfloat16 for its inputs and outputs"
Judged = tuple[tuple[OutputAccuracy, ...], dict[str, float]]
Judge = Callable[[Sequence[Outputs]], Judged]
MORE_SAMPLES = "give samples that it has outputs for (--verify-data), or a --range"


def make_reference(
    feeds: FeedFiles,
    outputs: Sequence[Outputs],
    *,
    timeout_s: float,
    data: str,
    noise: OwnNoise | None = None,
    is_random: bool = False,
    identical_rows: int = 0,
    notes: tuple[str, ...] = (),
) -> Reference:
    """Make the original's outputs to `write_inputs` the reference.

    Args:
        feeds: the verification inputs on disk.
        outputs: one per feed.
        timeout_s: longest that one run of a candidate may take.
        data: what the inputs are, in words.
        noise: runs the original again.
        is_random: whether the original may draw values.
        identical_rows: how many rows the feed of equal rows has; 0 without one.
        notes: what the inputs left out.

    Raises:
        VerifyError: no output holds a value, or all are random, so any artifact would
            pass.
    """
    random = noise.random if noise and is_random else frozenset[str]()
    _check_proves_something(outputs, random)
    row_axes = dict[str, int | None]()
    if identical_rows:
        row_axes = equal_rows(outputs[feeds.labels.index(IDENTICAL)], identical_rows)
    return Reference(
        feeds=feeds,
        outputs=tuple(outputs),
        timeout_s=timeout_s,
        data=data,
        noise=noise,
        random=random,
        row_axes=row_axes,
        notes=notes,
    )


def _check_proves_something(outputs: Sequence[Outputs], random: frozenset[str]) -> None:
    names = list(outputs[0])
    if random and len(random) == len(names):
        raise VerifyError(
            "every output of the original is random: two runs on the same inputs "
            "differ",
            hint="give its random nodes a seed, or cut them off with a graph pass "
            "(--pass)",
        )
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
    check = Check(reference, gate, precision)
    judge = partial(_judged, check, scratch=scratch, root=root)
    at_level = Check(reference, gate, precision, own_margin_db=LEVEL_MARGIN_DB)
    judge_level = partial(_judged, at_level, scratch=scratch, root=root)
    honest, method = _honest_form(artifact, model, scratch)
    outputs, agreements = judge(_run(honest, "off", reference, scratch))
    # As it is, the artifact was run at `off` just now.
    higher = [level for level in levels if level != "off" or method != "run"]
    level, notes = _runtime_level(artifact, higher, judge_level, reference, scratch)
    if level is None and method == "run":
        if "off" not in levels:
            raise VerifyError(f"it does not run at any level: {'; '.join(notes)}")
        level = "off"
    if has_cuda_provider() and _CLOSED not in notes:
        on_gpu = _verify_on_gpu(artifact, level or "all", judge, reference, scratch)
        notes = (*notes, on_gpu)
    return Accuracy(
        outputs=outputs,
        points=tuple(dict.fromkeys(reference.points)),
        method=method,
        runtime_level=level,
        agreements=agreements,
        data=reference.data,
        notes=(*_doubts(reference, outputs), *(check.notes | at_level.notes), *notes),
    )


def verify_plan(
    plan: Path,
    reference: Reference,
    *,
    gate: Gate,
    precision: str,
    scratch: Path,
    root: Path | None = None,
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
    figures, _ = _judged(
        Check(reference, gate, precision),
        [{name: a[name] for name in reference.outputs[0]} for a in outputs],
        scratch=scratch,
        root=root,
    )
    return figures


def _judged(
    check: Check, outputs: Sequence[Outputs], *, scratch: Path, root: Path | None
) -> Judged:
    """Return the figures of what one run computed, and the agreements asked for.

    Raises:
        VerifyError: an output, or an agreement, is not what the gate requires.
    """
    reference = check.reference
    figures = check.outputs(outputs)
    agreements = required_agreements(
        check.gate,
        reference.outputs,
        outputs,
        root=root,
        scratch=scratch,
        timeout_s=reference.timeout_s,
    )
    return figures, agreements


def _honest_form(artifact: Path, model: ModelProto, scratch: Path) -> tuple[Path, str]:
    """Return what to run: the artifact, or the form of it that truly rounds."""
    if not is_low(model):
        return artifact, "run"
    path = scratch / "rounded.onnx"
    save_for_worker(emulated(model), path)
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
    judge: Judge,
    reference: Reference,
    scratch: Path,
) -> tuple[str | None, tuple[str, ...]]:
    """Find the highest level at which ONNX Runtime serves right outputs."""
    if inspect_onnx(artifact).has_bf16_border:
        return None, (_CLOSED,)
    notes = []
    for level in levels:
        try:
            judge(_run(artifact, level, reference, scratch))
        except NoKernelError as error:
            return None, (f"not run as it is on the CPU: {error.message}",)
        except VerifyError as error:
            reason = textwrap.shorten(error.message, NOTE_CHARS)
            notes.append(f"not at optimisation level {level}: {reason}")
        else:
            return level, tuple(notes)
    return None, tuple(notes)


def _verify_on_gpu(
    artifact: Path, level: str, judge: Judge, reference: Reference, scratch: Path
) -> str:
    """Hold an artifact to the gate as ONNX Runtime's CUDA provider runs it.

    Raises:
        VerifyError: it does not open or run there, or its outputs differ.
    """
    try:
        figures, _ = judge(
            run_onnx(
                artifact,
                reference.feeds,
                level=level,
                folder=scratch / "gpu",
                timeout_s=reference.timeout_s,
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


def _doubts(reference: Reference, outputs: Sequence[OutputAccuracy]) -> tuple[str, ...]:
    """Say where the figures prove little."""
    notes = list(reference.notes)
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
    notes += [
        f"output {name!r} is random in the original, two runs on the same inputs "
        "differ: only its shape and type are judged"
        for name in sorted(reference.random)
    ]
    if None in reference.row_axes.values():
        notes.append("the original itself has different outputs for identical rows")
    return tuple(notes)
