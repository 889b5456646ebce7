"""The chosen candidate becomes a result, a manifest and the files to publish."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from triton_kit.artifact import inspect_onnx
from triton_kit.conversion.onnx.onnx_file import artifact_files, measure
from triton_kit.conversion.output_files import link_or_copy
from triton_kit.conversion.precision.share import precision_of
from triton_kit.conversion.results.manifest import (
    digests,
    engine_facts,
    metadata_files,
)
from triton_kit.conversion.results.result import manifest_facts
from triton_kit.conversion.search.attempt import Attempt
from triton_kit.conversion.search.work import Work
from triton_kit.conversion.spec import ConvertResult, ConvertSpec
from triton_kit.conversion.tensorrt.engine import Engine, as_tensorrt_has_it


def finish_result(
    work: Work, chosen: Attempt, engine: Engine | None
) -> tuple[ConvertResult, list[Path]]:
    """Return the result with its manifest, and all files to publish."""
    spec = work.spec
    files = _artifact_files(work, chosen, engine)
    result = _result(work, chosen, engine)
    facts = manifest_facts(
        result,
        spec,
        files,
        source=digests(spec.source) if isinstance(spec.source, Path) else {},
        engine=engine_facts(files[0], engine.report) if engine else None,
        sparsity=work.prepared.sparsity,
    )
    files += metadata_files(spec, facts, files[0].parent)
    return replace(result, manifest=facts), files


def _artifact_files(work: Work, chosen: Attempt, engine: Engine | None) -> list[Path]:
    """Return the artifact's files, under the names that they will have."""
    if engine is None:
        return [*artifact_files(chosen.path), *work.spec.custom_ops]
    folder = work.scratch / "made"
    folder.mkdir()
    artifact = folder / work.spec.output.name
    link_or_copy(engine.path, artifact)
    return [artifact]


def _result(work: Work, chosen: Attempt, engine: Engine | None) -> ConvertResult:
    after = inspect_onnx(chosen.path)
    inputs, outputs = after.inputs, after.outputs
    if work.spec.format != "onnx":
        release = work.spec.release
        inputs = tuple(as_tensorrt_has_it(tensor, release) for tensor in inputs)
        outputs = tuple(as_tensorrt_has_it(tensor, release) for tensor in outputs)
    size = measure(chosen.candidate.model, chosen.path)
    if engine:
        size = replace(size, bytes=engine.path.stat().st_size)
    precision, artifact = chosen.spec.precision, work.spec.output
    if engine is None:
        artifact = artifact.with_name(chosen.path.name)  # what a plan is built from
    assert precision != "auto"  # the search chose one
    precision = precision_of(chosen.candidate.model, precision)
    return ConvertResult(
        artifact=artifact,
        format=work.spec.format,
        precision=precision,
        inputs=inputs,
        outputs=outputs,
        before=work.prepared.before,
        after=size,
        accuracy=chosen.accuracy,
        kept_fp32=chosen.candidate.kept,
        tried=chosen.tried,
        notes=(
            *chosen.notes,
            *chosen.accuracy.notes,
            *(engine.notes if engine else ()),
            *_dry_run_note(work.spec),
        ),
    )


def _dry_run_note(spec: ConvertSpec) -> tuple[str, ...]:
    if not spec.dry_run:
        return ()
    by = "" if spec.format == "onnx" else "; TensorRT for RTX parsed and built it"
    return (f"dry run: nothing was written{by}",)
