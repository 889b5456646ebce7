"""A model becomes an artifact: read, prepared, verified, built, published."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from triton_kit.conversion.finish import finish_result
from triton_kit.conversion.onnx.onnx_file import DATA_SUFFIX
from triton_kit.conversion.onnx.weight_files import weights_in
from triton_kit.conversion.output_files import (
    publish_files,
    refuse_overlap,
    require_free_space,
    require_writable,
)
from triton_kit.conversion.results.cache import cached_result, open_entry, write_entry
from triton_kit.conversion.results.manifest import MANIFEST, REPRODUCE
from triton_kit.conversion.search.precision_search import search
from triton_kit.conversion.search.work import begin_work
from triton_kit.conversion.sources.source import read_source
from triton_kit.conversion.spec import ConvertResult, ConvertSpec
from triton_kit.conversion.tensorrt.engine import (
    checked_options,
    engine_for,
    installed_backend,
)
from triton_kit.conversion.tensorrt.plan_script import write_plan_script
from triton_kit.conversion.tensorrt.prebuilt import (
    MissingPlan,
    MissingPlansError,
    import_plan,
    is_prebuilt,
)
from triton_kit.conversion.tensorrt.refusals import refuse_unsupported
from triton_kit.conversion.verify.agreements import refuse_unknown_function
from triton_kit.conversion.verify.free_batch import free_batch
from triton_kit.conversion.workers.child import with_op_libraries
from triton_kit.conversion.workers.forked import preloaded_workers
from triton_kit.errors import SpecError
from triton_kit.scratch import scratch_folder

_log = logging.getLogger(__name__)


def convert(spec: ConvertSpec) -> ConvertResult:
    """Write the artifact of one model: rewritten, in its precision, and verified.

    Beside it go its manifest and a script that makes it again. All of them appear once
    the artifact is whole and has passed the accuracy gate. After a failure the folder
    is as it was before.

    Raises:
        SpecError: the spec asks for what the model does not have.
        ConvertError: the model cannot be read, rewritten or built.
        VerifyError: the original does not run, or the artifact's outputs differ from
            its outputs by more than the gate allows.
    """
    check_places(spec)
    prebuilt = is_prebuilt(spec.source)
    if spec.format != "onnx" and not prebuilt:
        checked_options(spec)  # before any work
    with ExitStack() as stack:
        stack.enter_context(require_free_space(spec.source))
        stack.enter_context(with_op_libraries(spec.custom_ops))
        stack.enter_context(preloaded_workers())
        folder = stack.enter_context(scratch_folder())
        stack.enter_context(weights_in(folder))
        if prebuilt:
            return import_plan(spec, folder)
        return _convert_source(spec, folder, stack)


def check_places(spec: ConvertSpec) -> None:
    """Check what a conversion reads and writes, before any work.

    Raises:
        SpecError: a custom operator's library is missing, or the artifact would be
            written over its source.
        ConvertError: the output folder cannot be written.
    """
    for path in spec.custom_ops:
        if not path.is_file():
            raise SpecError(f"custom_ops: {path}: no such file")
    if spec.custom_ops and spec.format != "onnx":
        raise SpecError(
            f"custom_ops are libraries of ONNX Runtime, the artifact is {spec.format}",
            hint="TensorRT has plugins: --option plugins=LIBRARY",
        )
    if not (spec.dry_run or is_prebuilt(spec.source)):
        refuse_overlap(spec.source, _output_paths(spec))
        require_writable(spec.output.parent)


def _convert_source(
    spec: ConvertSpec, scratch: Path, stack: ExitStack
) -> ConvertResult:
    """Return the cached artifact, or make it in `scratch` and publish it at the end."""
    started_s = time.monotonic()
    entry = open_entry(spec, stack)
    if entry and (found := cached_result(entry, spec, scratch)):
        _log.info("found in the cache")
        result, files = found
        publish_files(files, spec.output.parent, copies=True)
        return replace(result, seconds=time.monotonic() - started_s)
    refuse_unknown_function(spec.gate, root=spec.root, timeout_s=spec.timeout_s)
    _log.info("reading %s", spec.source)
    source = free_batch(read_source(spec, scratch), spec, scratch)
    _log.info("preparing the graph")
    work = begin_work(spec, source, scratch)
    refuse_unsupported(work.prepared.model, spec)
    chosen = search(work)
    if spec.format != "onnx":
        _log.info("building the %s engine", spec.format)
    engine = engine_for(work, chosen) if spec.format != "onnx" else None
    if isinstance(engine, MissingPlan):
        result, files = finish_result(work, chosen, None)
        publish_files(files, spec.output.parent)
        write_plan_script([engine], spec.output.parent)
        raise MissingPlansError([engine], result)
    result, files = finish_result(work, chosen, engine)
    if entry:
        write_entry(entry, files)
    if not spec.dry_run:
        publish_files(files, spec.output.parent)
    return replace(result, seconds=time.monotonic() - started_s)


def _output_paths(spec: ConvertSpec) -> list[Path]:
    """Return every path that may be written; weights may be a file of their own."""
    artifact = spec.output
    if spec.format == "plan" and installed_backend("plan") is None:
        artifact = artifact.with_suffix(".onnx")  # what the plan is built from
    names = (artifact.name, artifact.name + DATA_SUFFIX, MANIFEST, REPRODUCE)
    return [spec.output.parent / name for name in names]
