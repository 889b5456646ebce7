"""A model in bfloat16 becomes one in float32, for runtimes without such kernels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from onnx import TensorProto

from triton_kit.conversion.onnx.onnx_file import save_onnx
from triton_kit.conversion.onnx.source_model import SourceModel
from triton_kit.conversion.precision.emulate import raised
from triton_kit.conversion.spec import ConvertSpec


def fit_bfloat16(source: SourceModel, spec: ConvertSpec, scratch: Path) -> SourceModel:
    """Return the source in float32, where it is bfloat16 and the artifact is not.

    bfloat16 stays where it was asked for, and as fp32 in files for GPUs and in plans.
    The weights keep their values; every other precision starts from them.
    """
    on_cpu = spec.format == "onnx" and spec.device == "cpu"
    is_kept = spec.precision == "bf16" or (spec.precision == "fp32" and not on_cpu)
    facts = source.facts
    is_bf16 = facts.has_bf16_border or TensorProto.BFLOAT16 in facts.weight_types
    if is_kept or not is_bf16:
        return source
    path = scratch / "in_float32.onnx"
    save_onnx(raised(source.load()), path)
    note = (
        "the source is bfloat16, for which ONNX Runtime has no CPU kernels: it is "
        "float32 here, inputs and outputs too (--precision bf16 keeps it, for GPUs)"
    )
    return replace(SourceModel.read(path), notes=(*source.notes, note))
