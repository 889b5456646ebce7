"""A model becomes an artifact: read, rewrite, verify, build, write."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from triton_kit.artifact import inspect_onnx
from triton_kit.conversion.candidates.attempt import Attempt, Work
from triton_kit.conversion.candidates.ladder import settle
from triton_kit.conversion.candidates.original import original_begun
from triton_kit.conversion.candidates.recipe import prepare
from triton_kit.conversion.onnx.onnx_file import DATA_SUFFIX, artifact_files, measure
from triton_kit.conversion.place import keep_apart, place, room_for, same_file
from triton_kit.conversion.precision.emulate import lowest_precision
from triton_kit.conversion.results.cache import (
    cache_key,
    locked_entry,
    read_entry,
    write_entry,
)
from triton_kit.conversion.results.manifest import (
    MANIFEST,
    REPRODUCE,
    as_text,
    engine_facts,
    reproduce_script,
    write_text,
)
from triton_kit.conversion.results.result import manifest_facts, result_from_manifest
from triton_kit.conversion.shapes import check_profiles, full_profiles
from triton_kit.conversion.sources.source import (
    exported,
    source_digests,
)
from triton_kit.conversion.spec import ConvertResult, ConvertSpec, Profile
from triton_kit.conversion.tensorrt.engine import (
    Engine,
    build_engine,
    checked_options,
    container_plan_and_command,
    engine_of_container,
    installed_backend,
)
from triton_kit.conversion.tensorrt.finished import (
    PlansToComeError,
    PlanToCome,
    is_finished,
    take_in,
)
from triton_kit.conversion.verify.verify import (
    Trial,
    make_trials,
    reference_of,
    verify_plan,
    write_trials,
)
from triton_kit.conversion.workers.samples import Feed, load_samples
from triton_kit.tensors import Tensor


def convert(spec: ConvertSpec) -> ConvertResult:
    """Write the artifact of one model: rewritten, in its precision, and verified.

    Beside it go its manifest and a script that makes it again. All of them appear once
    the artifact is whole and has passed the accuracy gate; until then, and after any
    failure, what was at its place before is still there.

    Raises:
        SpecError: the spec asks for what the model does not have.
        ConvertError: the model cannot be read, rewritten or built.
        VerifyError: the original does not run, or the artifact's answers differ from
            its answers by more than the gate allows.
    """
    is_made = is_finished(spec.source)
    if spec.format != "onnx" and not is_made:
        checked_options(spec)  # before any work
    with room_for(spec.source):
        return _taken_in(spec) if is_made else _converted(spec)


def _written(spec: ConvertSpec) -> list[Path]:
    """Return every path that may be written; weights may be apart."""
    artifact = spec.output
    if spec.format == "plan" and installed_backend("plan") is None:
        artifact = artifact.with_suffix(".onnx")  # what the plan is built from
    names = (artifact.name, artifact.name + DATA_SUFFIX, MANIFEST, REPRODUCE)
    return [spec.output.parent / name for name in names]


def _taken_in(spec: ConvertSpec) -> ConvertResult:
    with tempfile.TemporaryDirectory(prefix="triton-kit-") as scratch:
        return take_in(spec, Path(scratch))


def _converted(spec: ConvertSpec) -> ConvertResult:
    started_s = time.monotonic()
    if not spec.dry_run:
        keep_apart(spec.source, _written(spec))
    with ExitStack() as stack:
        scratch = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="triton-kit-"))
        )
        entry = _entry(spec, stack)
        if entry and (facts := read_entry(entry)):
            files = [entry / name for name in facts["files"]]
            files += _papers(spec, facts, scratch)
            place(files, spec.output.parent, copies=True)
            return result_from_manifest(
                facts, spec, seconds=time.monotonic() - started_s
            )
        return _made(spec, scratch, entry, started_s)


def _entry(spec: ConvertSpec, stack: ExitStack) -> Path | None:
    if spec.cache is None or spec.dry_run:
        return None
    key = cache_key(spec)
    return stack.enter_context(locked_entry(spec.cache, key)) if key else None


def _made(
    spec: ConvertSpec, scratch: Path, entry: Path | None, started_s: float
) -> ConvertResult:
    """Do the work: everything happens in `scratch`, and is copied out at the end."""
    work = _begin(spec, exported(spec, scratch), scratch)
    done = settle(work)
    engine = _engine(work, done) if spec.format != "onnx" else None
    made = _files(work, done, engine)
    result = _result(work, done, engine)
    facts = manifest_facts(
        result,
        spec,
        made,
        source=source_digests(spec),
        engine=engine_facts(made[0], engine.report) if engine else None,
        sparsity=work.prepared.sparsity,
    )
    files = [*made, *_papers(spec, facts, made[0].parent)]
    if entry:
        write_entry(entry, files)
    if not spec.dry_run:
        place(files, spec.output.parent)
    return replace(result, manifest=facts, seconds=time.monotonic() - started_s)


def _files(work: Work, done: Attempt, engine: Engine | None) -> list[Path]:
    """Return the artifact's files, under the names that they will have."""
    if engine is None:
        return artifact_files(done.path)
    folder = work.scratch / "made"
    folder.mkdir()
    artifact = folder / work.spec.output.name
    same_file(engine.path, artifact)
    return [artifact]


def _papers(spec: ConvertSpec, facts: Mapping[str, Any], folder: Path) -> list[Path]:
    manifest, script = folder / MANIFEST, folder / REPRODUCE
    write_text(script, reproduce_script(spec), executable=True)
    write_text(manifest, as_text(facts))
    return [script, manifest]


def _engine(work: Work, done: Attempt) -> Engine:
    """Build the engine, or leave the verified ONNX file and say how to go on."""
    spec = work.spec
    is_here = installed_backend(spec.format) is not None or spec.dry_run
    if spec.format == "plan" and not is_here:
        place(artifact_files(done.path), spec.output.parent)
        onnx = spec.output.parent / done.path.name
        plan, command = container_plan_and_command(spec, onnx, work.profiles)
        if plan.is_file():
            return engine_of_container(plan, spec)
        raise PlansToComeError([PlanToCome(spec.output, onnx, command)])
    engine = build_engine(done.path, spec, work.profiles, scratch=work.scratch)
    if engine.backend != "rtx" and "strip_weights" not in spec.options:
        verify_plan(
            engine.path,
            work.reference,
            gate=spec.gate,
            precision=done.spec.precision,
            scratch=work.scratch,
        )
    return engine


def _begin(spec: ConvertSpec, source: Path, scratch: Path) -> Work:
    """Read everything that is given, and run the original once, beside the passes."""
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
    trials = _trials(spec, outside.inputs, profiles, samples, calibration)
    feeds = write_trials(trials, scratch / "feeds")
    with original_begun(spec, source, feeds, scratch) as answer:
        prepared = prepare(spec, source, scratch)
        answers = answer(prepared)
    return Work(
        spec=spec,
        source=source,
        source_precision=lowest_precision(prepared.model),
        profiles=profiles,
        prepared=prepared,
        reference=reference_of(feeds, answers, deadline_s=spec.deadline_s),
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


def _result(work: Work, done: Attempt, engine: Engine | None) -> ConvertResult:
    after = inspect_onnx(done.path)
    size = measure(done.candidate.model, done.path)
    if engine:
        size = replace(size, bytes=engine.path.stat().st_size)
    precision = done.spec.precision
    assert precision != "auto"  # settled
    return ConvertResult(
        artifact=work.spec.output,
        format=work.spec.format,
        precision=precision,
        inputs=after.inputs,
        outputs=after.outputs,
        before=work.prepared.before,
        after=size,
        accuracy=done.accuracy,
        kept_fp32=done.candidate.kept,
        notes=(
            *done.notes,
            *done.accuracy.notes,
            *(engine.notes if engine else ()),
            *_dry_run_note(work.spec),
        ),
    )


def _dry_run_note(spec: ConvertSpec) -> tuple[str, ...]:
    if not spec.dry_run:
        return ()
    by = "" if spec.format == "onnx" else "; TensorRT for RTX parsed and built it"
    return (f"dry run: nothing was written{by}",)
