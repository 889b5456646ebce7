"""Models at the edge of what a graph may be: each ended in a traceback once."""

import numpy as np
import onnx
import pytest
from convert_networks import Builder, T, saved

from triton_kit.convert.pipeline import convert
from triton_kit.convert.spec import Calibration, ConvertSpec

WHATEVER = ("fp32", "fp16", "bf16", "int8", "auto")


def linear(b):
    """float32 x (n, 4) -> y (n, 3)."""
    b.op("MatMul", "x", b.weight("w", (4, 3)), to="y")
    return b.model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 3])], opset=11)


def spec_of(model, tmp_path, **fields):
    """An order of a model, with samples for every input."""
    source = saved(model, tmp_path / "source.onnx")
    data = tmp_path / "samples.npz"
    rng = np.random.default_rng(1)
    weights = {tensor.name for tensor in model.graph.initializer}
    samples = {}
    for value in model.graph.input:
        if value.name not in weights:
            kind = value.type.tensor_type
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
            shape = (32, *(axis.dim_value for axis in kind.shape.dim[1:]))
            samples[value.name] = (4 * rng.random(shape)).astype(dtype)
    np.savez(data, **samples)
    given = {"output": tmp_path / "out" / "model.onnx"}
    return ConvertSpec(
        source=source, **given | {"calibration": Calibration(data=data)} | fields
    )


@pytest.mark.parametrize("precision", WHATEVER)
def test_weights_that_are_inputs_too_become_plain_weights(tmp_path, precision):
    model = linear(Builder())
    model.ir_version = 3
    model.graph.input.append(onnx.helper.make_tensor_value_info("w", T.FLOAT, [4, 3]))

    result = convert(spec_of(model, tmp_path, precision=precision))

    made = onnx.load(result.artifact)
    onnx.checker.check_model(made)
    assert [value.name for value in made.graph.input] == ["x"]
    assert made.ir_version >= 4
