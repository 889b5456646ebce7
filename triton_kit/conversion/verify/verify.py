"""The accuracy gate: an artifact is run against its original, in child processes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto

from triton_kit.conversion.onnx.onnx_file import save_onnx
from triton_kit.conversion.precision.emulate import emulated, is_low
from triton_kit.conversion.shapes import trial_points
from triton_kit.conversion.spec import Accuracy, Gate, OutputAccuracy, Profile
from triton_kit.conversion.verify.compare import Tally, rows_differ_db, tally_all
from triton_kit.conversion.workers.child import NoKernelError
from triton_kit.conversion.workers.models import (
    LEVELS,
    FeedFiles,
    run_onnx,
    run_plan,
    write_feeds,
)
from triton_kit.conversion.workers.samples import Feed, batches, fit, random_feed
from triton_kit.errors import VerifyError
from triton_kit.tensors import Tensor

# The floor is for all that was run. One shape, and one row, has fewer values to average
# over and may be this much worse; none may be all wrong.
POINT_ALLOWANCE_DB = 10.0
ROW_ALLOWANCE_DB = 20.0
FEW_ROWS = 4  # a shape of fewer rows is judged as a row
# Share of whole numbers that must agree where no agreement was asked for.
EXACT_AGREEMENT = {"fp32": 1.0}
DEFAULT_AGREEMENT = 0.99
IDENTICAL = "identical rows"
NOTE_CHARS = 200
MORE_SAMPLES = "give samples that it has answers to (--verify-data), or a --range"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One feed, and the point it belongs to: a shape, or the user's samples."""

    point: str
    feed: Feed


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The original's answers, computed once for every candidate."""

    feeds: FeedFiles
    answers: tuple[Feed, ...]
    rows_are_independent: bool
    deadline_s: float

    @property
    def points(self) -> tuple[str, ...]:
        """What each feed belongs to: a shape, or the user's samples."""
        return self.feeds.labels


def make_trials(
    inputs: Sequence[Tensor],
    profiles: Sequence[Profile],
    *,
    samples: Feed | None,
    has_verify_data: bool,
    ranges: Mapping[str, tuple[float, float]],
    seed: int,
) -> list[Trial]:
    """Return the feeds to try: every profile's min, opt and max, then all samples.

    Where there are samples, the shapes are filled with them; random values otherwise.
    """
    rng = np.random.default_rng(seed)
    points = trial_points(profiles)
    trials = [
        Trial(
            point=point,
            feed=random_feed(inputs, shapes, rng, ranges)
            if samples is None
            else fit(samples, shapes),
        )
        for point, shapes in points.items()
    ]
    best = {name: bounds.opt for name, bounds in profiles[0].items()}
    if samples is not None and has_verify_data:
        trials += [Trial(point="samples", feed=f) for f in batches(samples, best)]
    if repeated := _repeat_first_row(trials[-1].feed, profiles):
        trials.append(Trial(point=IDENTICAL, feed=repeated))
    return trials


def _repeat_first_row(feed: Feed, profiles: Sequence[Profile]) -> Feed | None:
    """Return a feed of equal rows, as many as fit; None where that is but one."""
    shapes = {name: bounds.max for name, bounds in profiles[-1].items()}
    if not all(shape and shape[0] > 1 for shape in shapes.values()):
        return None
    rows = {name: array[:1] for name, array in feed.items()}
    return fit(rows, shapes)


def write_trials(trials: Sequence[Trial], folder: Path) -> FeedFiles:
    """Write what the original and every candidate answer."""
    return write_feeds(
        [trial.feed for trial in trials],
        folder,
        labels=[trial.point for trial in trials],
    )


def reference_of(
    feeds: FeedFiles, answers: Sequence[Feed], *, deadline_s: float
) -> Reference:
    """Take the original's answers to `write_trials` as the truth.

    Args:
        feeds: the trials on disk.
        answers: one per feed.
        deadline_s: longest that one run of a candidate may take.

    Raises:
        VerifyError: no answer holds a value, so anything would pass.
    """
    _check_proves_something(answers)
    independent = [
        rows_differ_db(answer) > 90
        for point, answer in zip(feeds.labels, answers, strict=True)
        if point == IDENTICAL
    ]
    return Reference(
        feeds=feeds,
        answers=tuple(answers),
        rows_are_independent=all(independent) and bool(independent),
        deadline_s=deadline_s,
    )


def _check_proves_something(answers: Sequence[Feed]) -> None:
    names = list(answers[0])
    voids = [void for name in names if (void := _void(name, answers))]
    if voids and len(voids) == len(names):
        raise VerifyError(
            f"the original's answers hold no value to compare: {', '.join(voids)}",
            hint=MORE_SAMPLES,
        )


def _void(name: str, answers: Sequence[Feed]) -> str | None:
    """Say why an output cannot be compared; None where any feed gives it a value."""
    arrays = [answer[name] for answer in answers]
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
) -> Accuracy:
    """Hold an artifact against its original.

    Args:
        artifact: an ONNX file.
        model: what is in it.
        levels: the levels of ONNX Runtime's optimiser it may be served at, the highest
            first. The first with right answers is reported.
        scratch: a folder for answers.

    Raises:
        VerifyError: an answer is not what the gate demands; names the output.
    """
    check = _Check(reference, gate, precision)
    honest, method = _honest_form(artifact, model, scratch)
    outputs = check.outputs(_answers(honest, "off", reference, scratch))
    # Levels above `off`; as it is, the artifact was run at `off` just now.
    higher = [level for level in levels if level != "off" or method != "run"]
    level, notes = _runtime_level(artifact, higher, check, reference, scratch)
    if level is None and method == "run" and "off" in levels:
        level = "off"
    if level is None and method == "run":
        raise VerifyError(f"it does not run at any level: {'; '.join(notes)}")
    return Accuracy(
        outputs=outputs,
        points=tuple(dict.fromkeys(reference.points)),
        method=method,
        runtime_level=level,
        notes=(*_doubts(reference, outputs), *notes),
    )


def verify_plan(
    plan: Path, reference: Reference, *, gate: Gate, precision: str, scratch: Path
) -> tuple[OutputAccuracy, ...]:
    """Hold a TensorRT plan against the original, on the GPU that it was built on.

    Raises:
        VerifyError: it does not run, or its answers are not what the gate demands.
    """
    answers = run_plan(
        plan,
        reference.feeds,
        answers=scratch / "plan",
        deadline_s=reference.deadline_s,
    )
    return _Check(reference, gate, precision).outputs(
        [{name: a[name] for name in reference.answers[0]} for a in answers]
    )


def _honest_form(artifact: Path, model: ModelProto, scratch: Path) -> tuple[Path, str]:
    """Return what to run: the artifact, or the form of it that truly rounds."""
    if not is_low(model):
        return artifact, "run"
    path = scratch / "rounded.onnx"
    save_onnx(emulated(model), path)
    return path, "rounded"


def _answers(
    model: Path, level: str, reference: Reference, scratch: Path
) -> list[Feed]:
    return run_onnx(
        model,
        reference.feeds,
        level=level,
        answers=scratch / "candidate",
        deadline_s=reference.deadline_s,
    )


def _runtime_level(
    artifact: Path,
    levels: Sequence[str],
    check: _Check,
    reference: Reference,
    scratch: Path,
) -> tuple[str | None, tuple[str, ...]]:
    """Find the highest level at which ONNX Runtime serves right answers."""
    notes = []
    for level in levels:
        try:
            check.outputs(_answers(artifact, level, reference, scratch))
        except NoKernelError as error:
            return None, (f"not run as it is on the CPU: {error.message}",)
        except VerifyError as error:
            reason = textwrap.shorten(error.message, NOTE_CHARS)
            notes.append(f"not at optimisation level {level}: {reason}")
        else:
            return level, tuple(notes)
    return None, tuple(notes)


class _Check:
    """Holds answers against the reference; a fault is a VerifyError."""

    def __init__(self, reference: Reference, gate: Gate, precision: str) -> None:
        self._reference = reference
        self._gate = gate
        self._precision = precision

    def outputs(self, answers: Sequence[Feed]) -> tuple[OutputAccuracy, ...]:
        """Return the figures of every output, or say which one fails, and where."""
        reference = self._reference
        if [list(a) for a in answers] != [list(a) for a in reference.answers]:
            wanted = list(reference.answers[0])
            raise VerifyError(f"outputs are {list(answers[0])} instead of {wanted}")
        found = tuple(self._output(name, answers) for name in reference.answers[0])
        self._check_rows(answers)
        return found

    def _output(self, name: str, answers: Sequence[Feed]) -> OutputAccuracy:
        floor = self._gate.snr_floor_db(self._precision)
        total = Tally()
        for point in dict.fromkeys(self._reference.points):
            at_point = self._tally(name, point, answers)
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

    def _tally(self, name: str, point: str, answers: Sequence[Feed]) -> Tally:
        reference = self._reference
        chosen = [i for i, p in enumerate(reference.points) if p == point]
        return tally_all(
            [reference.answers[i][name] for i in chosen],
            [answers[i][name] for i in chosen],
        )

    def _faults(self, total: Tally, name: str, floor: float) -> list[str]:
        gate, figures = self._gate, total.figures(name)
        faults = _too_low("SNR", figures.snr_db, floor)
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

    def _check_rows(self, answers: Sequence[Feed]) -> None:
        """Equal rows of a batch must get equal answers (NVIDIA/TensorRT#4813)."""
        if not self._reference.rows_are_independent:
            return
        floor = self._gate.snr_floor_db(self._precision)
        for point, answer in zip(self._reference.points, answers, strict=True):
            if point == IDENTICAL and (found := rows_differ_db(answer)) < floor:
                raise VerifyError(
                    "identical rows of one batch get different answers: "
                    f"{found:.1f} dB, needs {floor:g} dB"
                )


def _too_low(what: str, found_db: float, floor_db: float) -> list[str]:
    if found_db >= floor_db:
        return []
    return [f"{what} {found_db:.1f} dB, needs {floor_db:g} dB"]


def _doubts(reference: Reference, outputs: Sequence[OutputAccuracy]) -> tuple[str, ...]:
    """Say where the figures prove little."""
    notes = []
    for output in outputs:
        if void := _void(output.name, reference.answers):
            notes.append(f"{void}, so its figures prove nothing: {MORE_SAMPLES}")
        values = [
            a[output.name].astype(np.float64)
            for a in reference.answers
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
        notes.append("the original itself answers identical rows differently")
    return tuple(notes)
