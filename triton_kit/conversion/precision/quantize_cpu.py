"""Quantise to int8 for ONNX Runtime's CPU kernels, with its own quantiser."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from typing import Any

import numpy as np
from onnx import ModelProto
from onnxruntime.quantization.calibrate import (
    CalibrationMethod,
    TensorData,
    TensorsData,
)
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import QuantizationMode, QuantType

from triton_kit.conversion.onnx.weight_files import whole
from triton_kit.conversion.precision.quantize import (
    BETWEEN_CONVOLUTIONS,
    DYNAMIC_OPS,
    QUANTIZED_OPS,
    Limits,
    Quantized,
)
from triton_kit.errors import ConvertError

# These have int8 kernels with float32 outputs. With eight bits an output would be cut
# off at the largest one in calibration; and where a float32 operator follows, it would
# be rounded for nothing.
_FLOAT_ANSWERS = ("Gemm", "MatMul")

# One scale for values of both ranges takes three of eight bits from the smaller.
_UNLIKE = 8.0


def quantize_for_cpu(
    model: ModelProto, limits: Limits, *, skip: Mapping[str, str], between: bool
) -> Quantized:
    """Put Q/DQ pairs where ONNX Runtime's CPU kernels compute in int8 throughout.

    Activations are uint8 with a zero point of their own, which TensorRT does not take.
    Weights have 7 bits: CPUs without VNNI add two products in 16 bits, and with 8 bits
    the sum overflows silently.

    Args:
        model: float32; every node has a name of its own.
        limits: least and largest value by name.
        skip: nodes to leave alone, each with the reason.
        between: whether what lies between convolutions becomes int8 as well.

    Raises:
        ConvertError: ONNX Runtime's quantiser did not take the graph.
    """
    has_convolutions = any(node.op_type == "Conv" for node in model.graph.node)
    is_all = between and has_convolutions
    types = [*QUANTIZED_OPS, *(BETWEEN_CONVOLUTIONS if is_all else ())]
    kept = _unfit(model) | _of_unlike_ranges(model, limits) | dict(skip)
    quantizer = partial(
        QDQQuantizer,
        activation_qType=QuantType.QUInt8,
        tensors_range=_tensors_data(limits),
        op_types_to_quantize=types,
        extra_options={
            "ForceQuantizeNoInputCheck": False,
            "OpTypesToExcludeOutputQuantization": list(_FLOAT_ANSWERS),
        },
    )
    return _quantized(model, kept, quantizer)


def quantize_dynamically(model: ModelProto, *, skip: Mapping[str, str]) -> Quantized:
    """Store the weights of MatMul, Gemm and LSTM in int8; nothing is calibrated.

    Activations become int8 while the model runs, by the range that they then have.

    Args:
        model: float32; every node has a name of its own.
        skip: nodes to leave alone, each with the reason.

    Raises:
        ConvertError: ONNX Runtime's quantiser did not take the graph.
    """
    plain = ONNXModel(_copied(model))
    plain.replace_gemm_with_matmul()
    # onnxruntime names it so; the user knows it as the Gemm.
    gemms = {
        f"{n.name}_MatMul": n.name for n in model.graph.node if n.op_type == "Gemm"
    }
    unfit = {gemms.get(name, name): why for name, why in _unfit(plain.model).items()}
    kept = unfit | dict(skip)
    excluded = kept | {new: kept[gemm] for new, gemm in gemms.items() if gemm in kept}
    quantizer = partial(
        ONNXQuantizer,
        mode=QuantizationMode.IntegerOps,
        static=False,
        activation_qType=QuantType.QUInt8,
        tensors_range=None,
        op_types_to_quantize=list(DYNAMIC_OPS),
        extra_options={"MatMulConstBOnly": True},
    )
    return Quantized(_quantized(plain.model, excluded, quantizer).model, kept)


def _quantized(
    model: ModelProto, kept: Mapping[str, str], make: Callable[..., Any]
) -> Quantized:
    """Run one of ONNX Runtime's quantisers, which have no types."""
    # They log through the module `logging`, which gives the root logger a handler
    # unless it has one: what the program logs would be written twice from then on.
    root, silent = logging.getLogger(), logging.NullHandler()
    root.addHandler(silent)
    root.addFilter(_is_not_advice)
    try:
        quantizer = make(
            _with_own_biases(_copied(model)),
            per_channel=True,
            reduce_range=True,
            weight_qType=QuantType.QInt8,
            nodes_to_quantize=[],
            nodes_to_exclude=list(kept),
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()  # as the checker requires
    except Exception as error:  # onnxruntime's own border: it raises whatever it meets
        raise ConvertError(f"onnxruntime's quantiser failed: {error}") from error
    finally:
        root.removeFilter(_is_not_advice)
        root.removeHandler(silent)
    return Quantized(quantizer.model.model, dict(kept))


def _copied(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(whole(model))
    return copy


def _with_own_biases(model: ModelProto) -> ModelProto:
    """Give each node a bias of its own, in place.

    onnxruntime copies a shared one, and adds a number to its name, whether another
    value has that name or not.
    """
    graph = model.graph
    biases = {tensor.name: tensor for tensor in graph.initializer}
    names = biases.keys() | {name for node in graph.node for name in node.output}
    seen: set[str] = set()
    for node in graph.node:
        name = node.input[2] if len(node.input) > 2 else ""
        if node.op_type not in QUANTIZED_OPS or name not in biases:
            continue
        if name in seen:
            node.input[2] = next(
                new for n in count() if (new := f"{name}_of_{n}") not in names
            )
            names.add(node.input[2])
            graph.initializer.add().CopyFrom(biases[name])
            graph.initializer[-1].name = node.input[2]
        seen.add(name)
    return model


def _unfit(model: ModelProto) -> dict[str, str]:
    weights = {tensor.name for tensor in model.graph.initializer}
    return {
        node.name: "it does not multiply a value by a weight"
        for node in model.graph.node
        if node.op_type in QUANTIZED_OPS
        and [name in weights for name in node.input[:2]] != [False, True]
    }


def _of_unlike_ranges(model: ModelProto, limits: Limits) -> dict[str, str]:
    """Return the nodes that read values of unlike ranges from one tensor.

    A detector that joins boxes of hundreds of pixels and scores below one is an
    example: with one scale for both, every score is zero.
    """
    found: dict[str, str] = {}
    mixed: set[str] = set()
    for node in model.graph.node:
        if node.op_type == "Concat":
            ends = [max(map(abs, limits[n])) for n in node.input if n in limits]
            largest, least = (
                max(ends, default=0.0),
                min(filter(None, ends), default=0.0),
            )
            if largest > _UNLIKE * least:
                found[node.name] = f"joins ranges of {least:.3g} and {largest:.3g}"
                mixed.update(node.output)
        if any(name in mixed for name in node.input):
            found.setdefault(node.name, "its input has values of unlike ranges")
            if node.op_type in BETWEEN_CONVOLUTIONS:
                mixed.update(node.output)
    return found


def _tensors_data(limits: Limits) -> object:  # onnxruntime has no types
    data = {
        name: TensorData(
            # A range holds zero, or padding could not be written.
            lowest=np.array(min(low, 0.0), np.float32),
            highest=np.array(max(high, 0.0), np.float32),
        )
        for name, (low, high) in limits.items()
    }
    return TensorsData(CalibrationMethod.MinMax, data)


def _is_not_advice(record: logging.LogRecord) -> bool:
    return "pre-processing" not in record.getMessage()
