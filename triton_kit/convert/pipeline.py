"""A model becomes an artifact: read, rewrite, verify, build, write."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from triton_kit.artifact import inspect_onnx
from triton_kit.convert.attempt import Attempt, Work
from triton_kit.convert.graph import Prepared, prepare
from triton_kit.convert.ladder import settle
from triton_kit.convert.onnx_file import artifact_files, load_onnx, measure, save_onnx
from triton_kit.convert.samples import Feed, load_samples
from triton_kit.convert.shapes import check_profiles, full_profiles
from triton_kit.convert.spec import ConvertResult, ConvertSpec, Profile
from triton_kit.convert.verify import Reference, Trial, make_trials, run_original
from triton_kit.errors import ConvertError, VerifyError
from triton_kit.tensors import Tensor


def convert(spec: ConvertSpec) -> ConvertResult:
    """Write the artifact of one model: rewritten, in its precision, and verified.

    The artifact appears by rename once it is whole and has passed the accuracy gate;
    until then, and after any failure, what was at its place before is still there.

    Raises:
        SpecError: the spec asks for what the model does not have.
        ConvertError: the model cannot be read, rewritten or built.
        VerifyError: the original does not run, or the artifact's answers differ from
            its answers by more than the gate allows.
    """
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="triton-kit-") as folder:
        scratch = Path(folder)
        work = _begin(spec, Path(spec.source), scratch)
        done = settle(work)
        files = artifact_files(done.path)
        _place(files, spec.output)
        return _result(work, done, time.monotonic() - started_s)


def _begin(spec: ConvertSpec, source: Path, scratch: Path) -> Work:
    """Read everything that is given, and run the original once."""
    outside = inspect_onnx(source)
    check_profiles(spec.profiles, outside.inputs, spec.source)
    profiles = full_profiles(spec.profiles, outside.inputs)
    calibration = (
        load_samples(spec.calibration.data, outside.inputs)
        if spec.calibration
        else None
    )
    samples = (
        load_samples(spec.verify_data, outside.inputs) if spec.verify_data else None
    )
    prepared = prepare(spec, source)
    trials = _trials(spec, outside.inputs, profiles, samples, calibration)
    return Work(
        spec=spec,
        source=source,
        profiles=profiles,
        prepared=prepared,
        reference=_run_original(spec, source, prepared, trials, scratch),
        calibration=calibration,
        trial_feeds=tuple(trial.feed for trial in trials),
        scratch=scratch,
    )


def _trials(
    spec: ConvertSpec,
    inputs: Sequence[Tensor],
    profiles: Sequence[Profile],
    samples: Feed | None,
    calibration: Feed | None,
) -> list[Trial]:
    return make_trials(
        inputs,
        profiles,
        samples=calibration if samples is None else samples,
        has_verify_data=samples is not None,
        ranges=spec.ranges,
        seed=spec.seed,
    )


def _run_original(
    spec: ConvertSpec,
    source: Path,
    prepared: Prepared,
    trials: Sequence[Trial],
    scratch: Path,
) -> Reference:
    model = _reference_model(spec, source, prepared, scratch)
    try:
        return run_original(model, trials, scratch=scratch, deadline_s=spec.deadline_s)
    except VerifyError as error:
        raise VerifyError(
            f"{spec.source}: the original cannot be verified against: {error.message}",
            hint=error.hint,
        ) from error


def _reference_model(
    spec: ConvertSpec, source: Path, prepared: Prepared, scratch: Path
) -> Path:
    """Return what the artifact is held against: the source, if its outputs are kept.

    A user's pass may cut outputs or make new ones; then the graph after it, with
    nothing else done to it, is the reference.
    """
    if not spec.passes:
        return source
    before = [t.name for t in inspect_onnx(source).outputs]
    if before == [output.name for output in prepared.model.graph.output]:
        return source
    from triton_kit.convert.passes import apply_user_passes

    path = scratch / "after_passes.onnx"
    save_onnx(apply_user_passes(load_onnx(source), spec.passes), path)
    return path


def _place(files: Sequence[Path], output: Path) -> None:
    """Move files to where they belong; the one that names the others comes last."""
    staged = []
    try:
        for file in reversed(files):
            target = output.parent / file.name.replace(files[0].name, output.name, 1)
            partial = target.with_name(f".{target.name}.partial")
            staged.append((partial, target))
            shutil.copyfile(file, partial)
        for partial, target in staged:
            partial.replace(target)
    except OSError as error:
        raise ConvertError(f"{output}: cannot write it: {error.strerror}") from error
    finally:
        for partial, _ in staged:
            partial.unlink(missing_ok=True)


def _result(work: Work, done: Attempt, seconds: float) -> ConvertResult:
    output = work.spec.output
    after = inspect_onnx(output)
    precision = done.spec.precision
    assert precision != "auto"  # settled
    return ConvertResult(
        artifact=output,
        format=work.spec.format,
        precision=precision,
        inputs=after.inputs,
        outputs=after.outputs,
        before=measure(load_onnx(work.source), work.source),
        after=measure(load_onnx(output), output),
        accuracy=done.accuracy,
        kept_fp32=done.candidate.kept,
        notes=(*done.notes, *done.accuracy.notes),
        seconds=seconds,
    )
