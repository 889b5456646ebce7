"""From the source's graph to the candidate's: the recipe, pass by pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx
from onnx import ModelProto

from triton_kit.conversion.onnx.onnx_file import (
    keep_words,
    load_onnx,
    measure,
    name_nodes,
    words_of,
)
from triton_kit.conversion.onnx.passes import (
    MIN_OPSET,
    apply_user_passes,
    at_least_opset,
    inline_functions,
    simplify,
    to_opset,
    weights_no_inputs,
)
from triton_kit.conversion.precision.emulate import holds
from triton_kit.conversion.precision.lower import lower_floats
from triton_kit.conversion.precision.overflow import fp16_obstacles
from triton_kit.conversion.precision.quantize import quantize_symmetric
from triton_kit.conversion.precision.ranges import ValueRange, limits, observe
from triton_kit.conversion.precision.sparsity import SparsityReport, prune_2_4
from triton_kit.conversion.spec import QUANTIZED, ConvertSpec, GraphSize
from triton_kit.conversion.workers.samples import Feed
from triton_kit.errors import ConvertError, SpecError, did_you_mean

# The first opset whose operators take the type.
BF16_OPSET = 22
FP16_SCALE_OPSET = 19  # Q/DQ with float16 scales, and float8 at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The float32 graph that every precision starts from; `before` is its source.

    `file` holds the graph as it is, where one does.
    """

    model: ModelProto
    before: GraphSize
    file: Path | None = None
    notes: tuple[str, ...] = ()
    sparsity: SparsityReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A graph in its precision, and the nodes that stayed float32, with the reason.

    `file` holds the graph as it is, where one does.
    """

    model: ModelProto
    file: Path | None = None
    kept: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def prepare(spec: ConvertSpec, source: Path, scratch: Path) -> Prepared:
    """Read the source and run every pass that is not about precision.

    Raises:
        ConvertError: unreadable, not valid ONNX, or a user's pass fails.
    """
    read = load_onnx(source)
    _check(source)
    before = measure(read, source)
    model = weights_no_inputs(inline_functions(read))
    if spec.opset is not None:
        model = to_opset(model, spec.opset)
    keep_words(model, words_of(read))
    deadline_s = spec.deadline_s
    model = apply_user_passes(
        model, spec.passes, root=spec.root, scratch=scratch, deadline_s=deadline_s
    )
    notes: tuple[str, ...] = ()
    file: Path | None = None
    if spec.simplify:
        try:
            model, file = simplify(
                model,
                path=source if model is read else None,
                scratch=scratch,
                deadline_s=deadline_s,
            )
        except ConvertError as error:
            notes = (f"kept the graph as it was: {error.message}",)
    if file is None:
        name_nodes(model)
    report = prune_2_4(model) if spec.sparsity else None
    return Prepared(
        model=model,
        before=before,
        file=None if spec.sparsity else file,
        notes=notes,
        sparsity=report,
    )


def _check(source: Path) -> None:
    try:
        # Large models are checked by path: their weights are not in the message.
        onnx.checker.check_model(str(source))
    except onnx.checker.ValidationError as error:
        if "No Op registered for" in str(error) or "No opset import" in str(error):
            return  # a custom operator: the runtime has the last word
        first = str(error).strip().splitlines()[0]
        raise ConvertError(f"{source}: not a valid ONNX model: {first}") from error


def lowered(
    prepared: Prepared,
    spec: ConvertSpec,
    *,
    feeds: Sequence[Feed],
    extra_kept: Mapping[str, str] | None = None,
) -> Candidate:
    """Bring the graph to the spec's precision.

    Args:
        prepared: the float32 graph.
        spec: its precision is not `auto`.
        feeds: what activation ranges are taken from: all calibration samples, or the
            feeds of the accuracy gate.
        extra_kept: nodes to keep in float32 besides the user's.

    Raises:
        ConvertError: the graph does not run, or cannot be brought to that precision.
    """
    precision = spec.precision
    model, kept = prepared.model, _asked_to_keep(prepared.model, spec)
    kept |= extra_kept or {}
    if precision == "fp32":
        return Candidate(model=model, file=prepared.file)
    if precision in QUANTIZED:
        done = _quantized(model, spec, kept, feeds)
    else:
        done = _floats(model, spec, precision, kept, feeds)
    keep_words(done.model, words_of(model))
    if holds(done.model, precision):
        return done
    return replace(done, notes=(*done.notes, f"nothing in it became {precision}"))


def _asked_to_keep(model: ModelProto, spec: ConvertSpec) -> dict[str, str]:
    kept = {
        node.name: "asked for"
        for node in model.graph.node
        if node.name in spec.keep_fp32 or node.op_type in spec.keep_fp32
    }
    names = {n.name for n in model.graph.node} | {n.op_type for n in model.graph.node}
    for name in spec.keep_fp32:
        if name not in names:
            raise SpecError(
                f"{spec.source}: no node or operator {name!r} to keep in fp32",
                hint=did_you_mean(name, names),
            )
    return kept


def _observed(
    model: ModelProto, spec: ConvertSpec, feeds: Sequence[Feed], *, histograms: bool
) -> dict[str, ValueRange]:
    return observe(model, feeds, histograms=histograms, deadline_s=spec.deadline_s)


def _floats(
    model: ModelProto,
    spec: ConvertSpec,
    precision: str,
    kept: dict[str, str],
    feeds: Sequence[Feed],
) -> Candidate:
    model = _to_opset_of(model, BF16_OPSET if precision == "bf16" else MIN_OPSET)
    if precision == "fp16":
        ranges = _observed(model, spec, feeds, histograms=False)
        kept = fp16_obstacles(model, ranges) | kept
    done = lower_floats(model, to=precision, keep=kept)
    return _checked(done.model, done.kept)


def _quantized(
    model: ModelProto, spec: ConvertSpec, kept: dict[str, str], feeds: Sequence[Feed]
) -> Candidate:
    if spec.calibration is None:
        raise SpecError(f"{spec.source}: {spec.precision} needs calibration samples")
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        raise ConvertError(
            f"{spec.source}: is quantised already, it holds QuantizeLinear",
            hint="convert it with --precision fp32, or start from the original",
        )
    rest = spec.rest_precision
    needed = BF16_OPSET if rest == "bf16" else FP16_SCALE_OPSET
    model = _to_opset_of(model, needed)
    if spec.calibration.quantizer == "modelopt":
        return _quantized_by_modelopt(model, spec, kept, feeds)
    method, percentile = spec.calibration.method, spec.calibration.percentile
    ranges = _observed(model, spec, feeds, histograms=method != "minmax")
    kept_ranges = limits(ranges, method=method, percentile=percentile)
    if spec.precision == "int8" and not spec.is_symmetric:
        from triton_kit.conversion.precision.quantize_cpu import quantize_for_cpu

        quantized = quantize_for_cpu(model, kept_ranges, skip=kept)
        checked = _checked(quantized.model, quantized.kept)
        return replace(checked, notes=_rest_notes(spec))
    lowered_kept: dict[str, str] = {}
    if rest != "fp32":
        obstacles = fp16_obstacles(model, ranges) if rest == "fp16" else {}
        done = lower_floats(model, to=rest, keep=obstacles | kept)
        model, lowered_kept = done.model, done.kept
    quantized = quantize_symmetric(model, kept_ranges, to=spec.precision, skip=kept)
    return _checked(quantized.model, lowered_kept | quantized.kept)


def _rest_notes(spec: ConvertSpec) -> tuple[str, ...]:
    if spec.rest_precision == "fp32":
        return ()
    return (
        f"the rest stays fp32, not {spec.rest}: this form of int8 is for CPUs; "
        "--symmetric makes the other, which takes it",
    )


def _quantized_by_modelopt(
    model: ModelProto, spec: ConvertSpec, kept: dict[str, str], feeds: Sequence[Feed]
) -> Candidate:
    from triton_kit.conversion.precision.modelopt import quantize_with_modelopt

    assert spec.calibration is not None
    if spec.symmetric is False:
        raise SpecError(
            f"{spec.source}: ModelOpt's int8 ranges are centred on zero",
            hint="--quantizer own makes asymmetric ones",
        )
    done = quantize_with_modelopt(
        model,
        feeds,
        to=spec.precision,
        rest=spec.rest_precision,
        method=spec.calibration.method,
        skip=kept,
        deadline_s=spec.deadline_s,
    )
    return _checked(done.model, done.kept)


def _to_opset_of(model: ModelProto, wanted: int) -> ModelProto:
    raised = at_least_opset(model, wanted)
    name_nodes(raised)
    return raised


def _checked(model: ModelProto, kept: Mapping[str, str]) -> Candidate:
    """Hold our own work against the ONNX checker: order, types, names."""
    model.ir_version = max(
        model.ir_version,
        onnx.helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True),
    )
    try:
        onnx.shape_inference.infer_shapes(model, strict_mode=True, check_type=True)
    except onnx.shape_inference.InferenceError as error:
        raise ConvertError(
            f"the rewritten graph does not type-check: {error}"
        ) from error
    except ValueError:
        pass  # over 2 GB; the runtime checks it below
    return Candidate(model=model, kept=kept)
