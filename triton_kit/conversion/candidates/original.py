"""The original's answers: what every artifact is held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from triton_kit.artifact import inspect_onnx
from triton_kit.conversion.candidates.recipe import Prepared
from triton_kit.conversion.onnx.onnx_file import load_onnx, save_onnx
from triton_kit.conversion.onnx.passes import apply_user_passes
from triton_kit.conversion.sources.source import source_kind
from triton_kit.conversion.sources.torch import run_torch
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.workers.models import FeedFiles, begun_onnx, run_onnx
from triton_kit.conversion.workers.samples import Feed
from triton_kit.errors import VerifyError

# To run a model beside its passes takes a few times its size more memory.
_BESIDE_UP_TO_BYTES = 2**30


@contextmanager
def original_begun(
    spec: ConvertSpec, source: Path, feeds: FeedFiles, scratch: Path
) -> Iterator[Callable[[Prepared], list[Feed]]]:
    """Yield what returns the original's answers, once it knows what the passes made.

    Where the source itself is asked, it begins to run now, beside the passes.

    Args:
        spec: the order.
        source: the ONNX file of its source.
        feeds: what to answer.
        scratch: a folder for the answers.

    Raises:
        VerifyError: what is yielded raises it where the original does not run.
    """
    where, deadline_s = scratch / "original", spec.deadline_s
    if source_kind(spec.source) == "torch" and not spec.passes:
        yield lambda _: _asked(
            spec, lambda: run_torch(spec, source, feeds, answers=where)
        )
    elif spec.passes or _bytes(source) > _BESIDE_UP_TO_BYTES:
        yield lambda prepared: _asked(
            spec,
            lambda: run_onnx(
                _reference_model(spec, source, prepared, scratch),
                feeds,
                level="off",
                answers=where,
                deadline_s=deadline_s,
            ),
        )
    else:
        with begun_onnx(
            source, feeds, level="off", answers=where, deadline_s=deadline_s
        ) as finish:
            yield lambda _: _asked(spec, finish)


def _asked(spec: ConvertSpec, run: Callable[[], list[Feed]]) -> list[Feed]:
    try:
        return run()
    except VerifyError as error:
        raise VerifyError(
            f"{spec.source}: the original cannot be verified against: {error.message}",
            hint=error.hint
            or "it has to run at min, opt and max of every profile: was it exported "
            "with these axes free?",
        ) from error


def _bytes(source: Path) -> int:
    apart = [source.parent / name for name in inspect_onnx(source).external_files]
    return sum(file.stat().st_size for file in (source, *apart) if file.is_file())


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
    path = scratch / "after_passes.onnx"
    rewritten = apply_user_passes(
        load_onnx(source),
        spec.passes,
        root=spec.root,
        scratch=scratch,
        deadline_s=spec.deadline_s,
    )
    save_onnx(rewritten, path)
    return path
