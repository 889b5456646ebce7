"""Converted models open in the CUDA provider and pass the accuracy gate on the GPU."""

import re

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import test_precision_kernels as one_nodes
from convert_networks import cnn, saved, transformer
from resnet50 import resnet50

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.precision import kernels
from triton_kit.conversion.precision.lower import lower_floats
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.options.conversion import Calibration
from triton_kit.options.shapes import ShapeRange

CUDA = "CUDAExecutionProvider"
SHAPES = {"cnn": (3, 32, 32), "transformer": (16,), "resnet50": (3, 224, 224)}
INPUTS = {"cnn": "image", "transformer": "tokens", "resnet50": "x"}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    models = {
        "cnn": cnn(),
        "transformer": transformer(),
        "resnet50": resnet50(half=False),
    }
    return {
        name: saved(model, folder / f"{name}.onnx") for name, model in models.items()
    }


@pytest.fixture
def converted(sources, tmp_path):
    """Convert one of the networks; its samples are random, batch 1 to 8."""

    def make(network, **fields):
        rows = SHAPES[network]
        rng = np.random.default_rng(5)
        is_text = network == "transformer"
        samples = (
            rng.integers(0, 50, (8, *rows))
            if is_text
            else rng.normal(size=(8, *rows)).astype(np.float32)
        )
        data = tmp_path / "samples.npz"
        np.savez(data, **{INPUTS[network]: samples})
        bounds = {"min": (1, *rows), "opt": (4, *rows), "max": (8, *rows)}
        given = {
            "profiles": ({INPUTS[network]: ShapeRange(**bounds)},),
            "verify_data": data,
            "calibration": Calibration(data=data),
            "device": "gpu",
        }
        return convert(
            ConvertSpec(
                source=sources[network],
                output=tmp_path / "model.onnx",
                **given | fields,
            )
        )

    return make


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("network", SHAPES)
def test_a_converted_model_passes_the_gate_on_the_gpu(converted, network, precision):
    result = converted(network, precision=precision)

    [note] = [n for n in result.accuracy.notes if "this machine's GPU too" in n]
    assert float(re.search(r"([\d.]+|inf) dB", note)[1]) > 20
    session = ort.InferenceSession(str(result.artifact), providers=[CUDA])
    assert session.get_providers()[0] == CUDA


def test_a_bfloat16_cnn_keeps_its_max_pool_in_fp32(converted):
    result = converted("cnn", precision="bf16")

    kept = " ".join(result.kept_fp32.values())
    assert "has no bf16 kernel of MaxPool" in kept
    types = {t.data_type for t in onnx.load(result.artifact).graph.initializer}
    assert onnx.TensorProto.BFLOAT16 in types


def test_int8_is_warned_of(converted):
    result = converted("cnn", precision="int8")

    assert any("slower than fp32" in note for note in result.notes)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("operator", one_nodes.NODES)
def test_what_has_a_kernel_opens(operator, precision):
    """What has none in bfloat16 does not; in float16 the CPU runs it in float32."""
    known = kernels.installed_kernels(CUDA, 120)
    model = one_nodes.one_node(operator)
    lowered = lower_floats(model, to=precision, keep={}).model

    does_open = one_nodes.opens(lowered, CUDA)

    is_missing = bool(kernels.without_kernel(model, known))
    assert does_open is (precision == "fp16" or not is_missing)
