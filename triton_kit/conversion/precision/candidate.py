"""The prepared graph becomes a candidate in one precision."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import onnx
from onnx import ModelProto, TensorProto

from triton_kit.conversion.onnx.onnx_file import (
    keep_words,
    name_nodes,
    value_types,
    words_of,
)
from triton_kit.conversion.onnx.passes import MIN_OPSET, at_least_opset
from triton_kit.conversion.onnx.prepare import Prepared
from triton_kit.conversion.onnx.release_fit import check_release
from triton_kit.conversion.precision.emulate import holds
from triton_kit.conversion.precision.kernels import cuda_kernels, without_kernel
from triton_kit.conversion.precision.lower import lower_floats
from triton_kit.conversion.precision.observed import Observed
from triton_kit.conversion.precision.overflow import bf16_obstacles, fp16_obstacles
from triton_kit.conversion.precision.quantize import (
    DYNAMIC_OPS,
    Limits,
    quantize_symmetric,
)
from triton_kit.conversion.precision.ranges import ValueRange, limits
from triton_kit.conversion.precision.share import RECURRENT_OPS, poor_nodes, share_of
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.errors import ConvertError, SpecError, did_you_mean
from triton_kit.options.conversion import QUANTIZED

# The first opset whose operators take the type.
BF16_OPSET = 22
_REASONS = 3
FP16_SCALE_OPSET = 19  # Q/DQ with float16 scales, and float8 at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A graph in its precision, and the nodes that stayed float32, with the reason.

    `file` holds the graph as it is, where one does.
    """

    model: ModelProto
    file: Path | None = None
    kept: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def make_candidate(
    prepared: Prepared,
    spec: ConvertSpec,
    *,
    observed: Observed,
    extra_kept: Mapping[str, str] | None = None,
    is_sparing: bool = False,
) -> Candidate:
    """Bring the graph to the spec's precision.

    Args:
        prepared: the float32 graph.
        spec: its precision is not `auto`.
        observed: what the float32 graph does with its inputs.
        extra_kept: nodes to keep in float32 besides the user's.
        is_sparing: whether int8 for CPUs is for large products alone.

    Raises:
        ConvertError: the graph does not run, or cannot be brought to that precision.
    """
    precision = spec.precision
    model, kept = prepared.model, _asked_to_keep(prepared.model, spec)
    kept |= extra_kept or {}
    if precision == "fp32":
        return Candidate(model=model, file=prepared.file)
    if is_sparing:
        kept = poor_nodes(model, observed.works) | kept
    if precision in QUANTIZED:
        done = _quantized(model, spec, kept, observed, is_sparing=is_sparing)
    else:
        done = _floats(model, spec, kept, observed)
    keep_words(done.model, words_of(model))
    check_release(done.model, spec)
    share = share_of(done.model, precision, observed.works)
    if not holds(done.model, precision) or not share.is_enough:
        what = "nothing in it" if not share.nodes else f"no more than {share.text}"
        raise ConvertError(
            f"{what} became {precision}"
            f"{_first_reasons(done.kept) or _what_is_in(model, precision)}",
            hint="choose another precision, or change what keeps these nodes in fp32",
        )
    return replace(done, notes=(*done.notes, *share.notes(precision)))


def _first_reasons(kept: Mapping[str, str]) -> str:
    reasons = [f"{node!r}: {why}" for node, why in list(kept.items())[:_REASONS]]
    return f": {'; '.join(reasons)}" if reasons else ""


def _what_is_in(model: ModelProto, precision: str) -> str:
    """Return why nothing was kept, and yet too little became the precision."""
    kinds = set(value_types(model).values())
    if TensorProto.FLOAT not in kinds:
        names = sorted(TensorProto.DataType.Name(kind).lower() for kind in kinds)
        return f": it has no float32 values, but {', '.join(names)}"
    ops = {node.op_type for node in model.graph.node} & set(RECURRENT_OPS)
    stay = sorted(ops.difference(DYNAMIC_OPS if precision == "int8-dynamic" else ()))
    if precision in QUANTIZED and stay:
        return f": {' and '.join(stay)} cannot, ONNX Runtime has no such kernel"
    return ""


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


def _floats(
    model: ModelProto,
    spec: ConvertSpec,
    kept: dict[str, str],
    observed: Observed,
) -> Candidate:
    to = spec.precision
    model = _to_opset_of(model, BF16_OPSET if to == "bf16" else MIN_OPSET)
    is_observed = to == "fp16"
    ranges = observed.ranges(model, to, histograms=False) if is_observed else {}
    obstacles = _obstacles(model, spec, to, ranges, observed)
    done = lower_floats(model, to=to, keep=obstacles | kept)
    return _checked(done.model, done.kept)


def _obstacles(
    model: ModelProto,
    spec: ConvertSpec,
    to: str,
    ranges: Mapping[str, ValueRange],
    observed: Observed,
) -> dict[str, str]:
    """Return the nodes that must not become `to`, each with the reason."""
    if to == "fp16":
        return fp16_obstacles(model, ranges, observed.shapes)
    without = without_kernel(model, cuda_kernels(spec)) if spec.format == "onnx" else {}
    return bf16_obstacles(model) | without


def _quantized(
    model: ModelProto,
    spec: ConvertSpec,
    kept: dict[str, str],
    observed: Observed,
    *,
    is_sparing: bool,
) -> Candidate:
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        raise ConvertError(
            f"{spec.source}: is quantised already, it holds QuantizeLinear",
            hint="convert it with --precision fp32, or start from the original",
        )
    if spec.precision == "int8-dynamic":
        return _quantized_dynamically(model, kept)
    if spec.calibration is None:
        raise SpecError(f"{spec.source}: {spec.precision} needs calibration samples")
    needed = BF16_OPSET if spec.rest_precision == "bf16" else FP16_SCALE_OPSET
    model = _to_opset_of(model, needed)
    if spec.calibration.quantizer == "modelopt":
        return _quantized_by_modelopt(model, spec, kept, observed)
    method, percentile = spec.calibration.method, spec.calibration.percentile
    if is_sparing and method == "minmax":
        method = "percentile"  # no worse on any network measured, up to 4 dB better
    ranges = observed.ranges(model, spec.precision, histograms=method != "minmax")
    kept_ranges = limits(ranges, method=method, percentile=percentile)
    if spec.precision == "int8" and not spec.is_symmetric:
        done = _quantized_for_cpu(model, kept_ranges, kept, not is_sparing)
        return replace(done, notes=_rest_notes(spec))
    return _quantized_symmetric(model, spec, kept, ranges, kept_ranges, observed)


def _quantized_dynamically(model: ModelProto, kept: Mapping[str, str]) -> Candidate:
    done = cpu_quantizer().quantize_dynamically(
        _to_opset_of(model, MIN_OPSET), skip=kept
    )
    return _checked(done.model, done.kept)


def _quantized_for_cpu(
    model: ModelProto, kept_ranges: Limits, kept: Mapping[str, str], between: bool
) -> Candidate:
    done = cpu_quantizer().quantize_for_cpu(
        model, kept_ranges, skip=kept, between=between
    )
    return _checked(done.model, done.kept)


def cpu_quantizer() -> ModuleType:
    """Import `quantize_cpu`: slow, and ONNX Runtime's quantizer logs to stderr.

    Its import gives the root logger a handler unless it has one.
    """
    root, silent = logging.getLogger(), logging.NullHandler()
    root.addHandler(silent)
    try:
        return import_module("triton_kit.conversion.precision.quantize_cpu")
    finally:
        root.removeHandler(silent)


def _quantized_symmetric(
    model: ModelProto,
    spec: ConvertSpec,
    kept: Mapping[str, str],
    ranges: Mapping[str, ValueRange],
    kept_ranges: Limits,
    observed: Observed,
) -> Candidate:
    rest = spec.rest_precision
    lowered_kept: dict[str, str] = {}
    if rest != "fp32":
        obstacles = _obstacles(model, spec, rest, ranges, observed)
        done = lower_floats(model, to=rest, keep=obstacles | dict(kept))
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
    model: ModelProto, spec: ConvertSpec, kept: dict[str, str], observed: Observed
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
        observed.feeds(spec.precision),
        to=spec.precision,
        rest=spec.rest_precision,
        method=spec.calibration.method,
        skip=kept,
        timeout_s=spec.timeout_s,
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
