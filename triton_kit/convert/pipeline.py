"""A model becomes an artifact: read, rewrite, compare, write."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from triton_kit.artifact import OnnxModel, inspect_onnx
from triton_kit.convert.passes import simplify
from triton_kit.convert.spec import ConvertResult, ConvertSpec
from triton_kit.convert.verify import compare
from triton_kit.errors import ConvertError, SpecError, did_you_mean
from triton_kit.tensors import DYNAMIC, Shape


@dataclass(frozen=True, slots=True)
class _Rewritten:
    """The graph that is kept, how far its answers are off, and a note if any."""

    model: onnx.ModelProto
    max_abs_error: float = 0.0
    notes: tuple[str, ...] = ()


def convert(spec: ConvertSpec) -> ConvertResult:
    """Write the artifact of one model, as small as it can be and still the same.

    The simplified graph is kept only if its answers are those of the original;
    otherwise the artifact is the original and a note says why.

    Raises:
        ConvertError: the source is not a readable ONNX model.
        SpecError: shapes are given for an input that the model does not have.
        VerifyError: the original itself does not run.
    """
    outside = inspect_onnx(spec.source)
    _check_shapes(spec, outside)
    original = _load(spec.source)
    rewritten = _simplified(spec, outside, original)
    _save(rewritten.model, spec.output)
    after = inspect_onnx(spec.output)
    return ConvertResult(
        artifact=spec.output,
        inputs=after.inputs,
        outputs=after.outputs,
        nodes_before=len(original.graph.node),
        nodes_after=len(rewritten.model.graph.node),
        max_abs_error=rewritten.max_abs_error,
        notes=rewritten.notes,
    )


def _check_shapes(spec: ConvertSpec, model: OnnxModel) -> None:
    known = {tensor.name: tensor for tensor in model.inputs}
    for name, bounds in spec.shapes.items():
        if name not in known:
            raise SpecError(
                f"{spec.source}: shapes are given for input {name!r}, "
                "which the model does not have",
                hint=did_you_mean(name, known),
            )
        shape = known[name].shape
        if not all(_fits(shape, s) for s in (bounds.min, bounds.opt, bounds.max)):
            raise SpecError(
                f"{spec.source}: input {name!r} has shape {shape}, which "
                f"min {bounds.min}, opt {bounds.opt}, max {bounds.max} do not fit",
                hint="-1 is an axis that varies; the others are fixed in the file",
            )


def _fits(declared: Shape, trial: Shape) -> bool:
    return len(declared) == len(trial) and all(
        size in (DYNAMIC, wanted) for size, wanted in zip(declared, trial, strict=True)
    )


def _load(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except (DecodeError, OSError, ValueError) as error:
        raise ConvertError(
            f"{path}: cannot be read as an ONNX model: {error}"
        ) from error


def _simplified(
    spec: ConvertSpec, outside: OnnxModel, original: onnx.ModelProto
) -> _Rewritten:
    try:
        slim = simplify(original)
    except ConvertError as error:
        return _Rewritten(original, notes=(f"kept the graph as it was: {error}",))
    with tempfile.TemporaryDirectory(prefix="triton-kit-") as scratch:
        candidate = Path(scratch) / "candidate.onnx"
        _save(slim, candidate)
        compared = compare(
            spec.source,
            candidate,
            inputs=outside.inputs,
            shapes=spec.shapes,
            seed=spec.seed,
            deadline_s=spec.deadline_s,
        )
    if compared.is_equal:
        return _Rewritten(slim, compared.max_abs_error)
    note = f"the simplified graph is off by {compared.max_abs_error:.3g}"
    return _Rewritten(original, notes=(f"kept the graph as it was: {note}",))


def _save(model: onnx.ModelProto, path: Path) -> None:
    # Who wrote the file, and when, is no part of the model: the same source has to
    # give the same bytes.
    del model.metadata_props[:]
    onnx.save(model, path)
