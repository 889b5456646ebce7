"""The original's outputs: the reference of every candidate."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from triton_kit.artifact import inspect_onnx
from triton_kit.conversion.onnx.onnx_file import load_onnx, save_onnx
from triton_kit.conversion.onnx.passes import apply_user_passes
from triton_kit.conversion.onnx.prepare import Prepared
from triton_kit.conversion.onnx.source_model import SourceModel
from triton_kit.conversion.precision.emulate import emulated, lowest_precision
from triton_kit.conversion.sources.torch import run_source
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.workers.child import NoKernelError
from triton_kit.conversion.workers.models import FeedFiles, run_onnx, start_onnx
from triton_kit.conversion.workers.samples import Outputs
from triton_kit.errors import VerifyError
from triton_kit.tensors import DYNAMIC

# To run a model beside its passes takes a few times its size more memory.
_BESIDE_UP_TO_BYTES = 2**28
# What ONNX Runtime reports, and what helps.
_INDEX = re.compile("out of (data )?bounds|out of range|indices element", re.IGNORECASE)
_INDEX_HINT = (
    "an input is an index into a table: give its values (--range NAME:0,LAST), or "
    "samples (--verify-data)"
)
_SHAPE = re.compile("dimension|shape|broadcast", re.IGNORECASE)
_SHAPE_HINT = (
    "it has to run at min, opt and max of every profile: was it exported "
    "with these axes free?"
)


@contextmanager
def start_original(
    spec: ConvertSpec, source: SourceModel, feeds: FeedFiles, scratch: Path
) -> Iterator[Callable[[Prepared], list[Outputs]]]:
    """Yield what returns the original's outputs, once it knows what the passes made.

    Where the source itself is the reference, it starts to run now, beside the passes.

    Raises:
        VerifyError: what is yielded raises it where the original does not run.
    """
    folder = scratch / "original"
    is_apart = source.framework or spec.passes or source.facts.has_bf16_border
    if is_apart or source.bytes > _BESIDE_UP_TO_BYTES:
        yield lambda prepared: run_original(
            spec, source, feeds, prepared, scratch, folder=folder
        )
    else:
        with start_onnx(
            source.path, feeds, level="off", folder=folder, timeout_s=spec.timeout_s
        ) as finish:
            yield lambda _: _run_or_emulate(
                spec, finish, source, feeds, folder, path=source.path
            )


def run_original(
    spec: ConvertSpec,
    source: SourceModel,
    feeds: FeedFiles,
    prepared: Prepared,
    scratch: Path,
    *,
    folder: Path,
) -> list[Outputs]:
    """Return the original's outputs; `folder` takes them.

    Raises:
        VerifyError: it does not run.
    """
    if source.framework and not spec.passes:
        return _run(
            spec, source, lambda: run_source(spec, source, feeds, folder=folder)
        )
    path = _reference_model(spec, source, prepared, scratch)

    def run() -> list[Outputs]:
        return run_onnx(
            path, feeds, level="off", folder=folder, timeout_s=spec.timeout_s
        )

    return _run_or_emulate(spec, run, source, feeds, folder, path=path)


def _run_or_emulate(
    spec: ConvertSpec,
    run: Callable[[], list[Outputs]],
    source: SourceModel,
    feeds: FeedFiles,
    folder: Path,
    *,
    path: Path,
) -> list[Outputs]:
    """Run a model; one in bfloat16, which has no CPU kernels, with float32 kernels."""

    def either() -> list[Outputs]:
        try:
            if not inspect_onnx(path).has_bf16_border:
                return run()
        except NoKernelError:
            if lowest_precision(load_onnx(path)) != "bf16":
                raise
        folder.mkdir(parents=True, exist_ok=True)
        rounded = folder / "rounded.onnx"
        save_onnx(emulated(load_onnx(path)), rounded)
        return run_onnx(
            rounded, feeds, level="off", folder=folder, timeout_s=spec.timeout_s
        )

    return _run(spec, source, either)


def _run(
    spec: ConvertSpec, source: SourceModel, run: Callable[[], list[Outputs]]
) -> list[Outputs]:
    try:
        return run()
    except VerifyError as error:
        raise VerifyError(
            f"{spec.source}: the original does not run: {error.message}",
            hint=error.hint or _hint(error.message, spec, source),
        ) from error


def _hint(message: str, spec: ConvertSpec, source: SourceModel) -> str | None:
    if _INDEX.search(message):
        return _INDEX_HINT
    if not _SHAPE.search(message):
        return None
    given = {name for profile in spec.profiles for name in profile}
    guessed = [
        tensor.name
        for tensor in source.facts.inputs
        if DYNAMIC in tensor.shape[1:] and tensor.name not in given
    ]
    if not guessed:
        return _SHAPE_HINT
    return (
        f"the kit chose the free axes of {', '.join(map(repr, guessed))}: give shapes "
        f"that the model takes (--shape {guessed[0]}:MIN,OPT,MAX)"
    )


def _reference_model(
    spec: ConvertSpec, source: SourceModel, prepared: Prepared, scratch: Path
) -> Path:
    """Return the file that is the reference: the source, if its outputs are kept.

    A user's pass may cut outputs or make new ones; then the graph after it, with
    nothing else done to it, is the reference.
    """
    if not spec.passes:
        return prepared.source_file
    before = [t.name for t in source.facts.outputs]
    if before == [output.name for output in prepared.model.graph.output]:
        return prepared.source_file
    path = scratch / "after_passes.onnx"
    rewritten = apply_user_passes(
        source.load(),
        spec.passes,
        root=spec.root,
        scratch=scratch,
        timeout_s=spec.timeout_s,
    )
    save_onnx(rewritten, path)
    return path
