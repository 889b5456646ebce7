"""A batch axis that the file fixes is made free, and held against the original."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from convert_networks import Builder, T, saved

from triton_kit.conversion.onnx.source_model import SourceModel
from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.verify.free_batch import free_batch
from triton_kit.errors import ConvertError, SpecError
from triton_kit.options.shapes import ShapeRange


def constant(b, *sizes):
    return b.constant(f"shape_{len(b.weights)}", np.array(sizes, np.int64))


def attention(batch):
    """Heads of (batch, 6, 16): they join the axis of the batch, and leave it."""
    b = Builder()
    x = "x"
    heads = []
    for name in ("q", "k"):
        head = b.op("MatMul", x, b.weight(name, (16, 16)))
        head = b.op("Reshape", head, constant(b, batch, 6, 4, 4))
        head = b.op("Transpose", head, perm=[0, 2, 1, 3])
        heads.append(b.op("Reshape", head, constant(b, batch * 4, 6, 4)))
    scores = b.op("MatMul", heads[0], b.op("Transpose", heads[1], perm=[0, 2, 1]))
    mixed = b.op("MatMul", b.op("Softmax", scores, axis=-1), heads[0])
    mixed = b.op("Reshape", mixed, constant(b, batch, 4, 6, 4))
    mixed = b.op("Transpose", mixed, perm=[2, 0, 1, 3])  # the batch is axis 1
    flat = b.op("Reshape", mixed, constant(b, 6 * batch, 16))
    flat = b.op("MatMul", flat, b.weight("out", (16, 16)))
    back = b.op("Reshape", flat, constant(b, 6, batch, 16))
    b.op("Transpose", back, perm=[1, 0, 2], to="y")
    shape = [batch, 6, 16]
    return b.model([("x", T.FLOAT, shape)], [("y", T.FLOAT, shape)])


def upsampled():
    """An image of one, made twice as large by its sizes, and flattened."""
    b = Builder()
    x = b.op("Conv", "x", b.weight("w", (4, 3, 3, 3)), pads=[1] * 4)
    x = b.op("Resize", x, "", "", constant(b, 1, 4, 16, 16), mode="nearest")
    x = b.op("Reshape", x, constant(b, 1, -1))
    b.op("Gemm", x, b.weight("g", (1024, 5)), to="y")
    return b.model([("x", T.FLOAT, [1, 3, 8, 8])], [("y", T.FLOAT, [1, 5])])


def bounds(least, best, most):
    return ShapeRange(min=least, opt=best, max=most)


def spec_of(model, tmp_path, **fields):
    return ConvertSpec(
        source=saved(model, tmp_path / "source.onnx"),
        output=tmp_path / "out" / "model.onnx",
        free_batch=True,
        **fields,
    )


def freed(model, tmp_path):
    spec = spec_of(model, tmp_path)
    return free_batch(SourceModel.read(spec.source), spec, tmp_path)


@pytest.mark.parametrize(
    ("model", "size"),
    [(attention(1), 1), (attention(2), 2), (upsampled(), 1)],
    ids=["heads", "heads of two", "resize"],
)
def test_a_fixed_batch_becomes_free_row_by_row(model, size, tmp_path):
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]

    found = freed(model, tmp_path)

    assert f"fixed at {size}, is free" in found.notes[0]
    made = onnx.load(found.path).graph
    axes = [v.type.tensor_type.shape.dim[0] for v in (*made.input, *made.output)]
    assert [axis.dim_param for axis in axes] == ["batch", "batch"]
    rows = np.random.default_rng(0).standard_normal((10, *shape[1:])).astype(np.float32)
    (at_once,) = ort.InferenceSession(found.path).run(None, {"x": rows})
    original = ort.InferenceSession(tmp_path / "source.onnx")
    apart = [
        original.run(None, {"x": rows[i : i + size]})[0] for i in range(0, 10, size)
    ]
    wanted = np.concatenate(apart)
    np.testing.assert_allclose(at_once, wanted, rtol=1e-4, atol=1e-5)


def test_a_freed_model_converts_at_the_shapes_asked_for(tmp_path):
    shapes = bounds((1, 3, 8, 8), (4, 3, 8, 8), (7, 3, 8, 8))

    result = convert(spec_of(upsampled(), tmp_path, profiles=({"x": shapes},)))

    assert [t.shape[0] for t in (*result.inputs, *result.outputs)] == [-1, -1]
    assert any("fixed at 1, is free" in note for note in result.notes)
    assert "profile 0 max" in result.accuracy.points


def test_a_batch_that_mixes_its_rows_is_refused(tmp_path):
    b = Builder()
    mean = b.op("ReduceMean", "x", axes=[0], keepdims=1)
    b.op("Sub", "x", mean, to="y")
    model = b.model([("x", T.FLOAT, [2, 8])], [("y", T.FLOAT, [2, 8])])

    with pytest.raises(ConvertError, match="with its batch axis free, output 'y'"):
        freed(model, tmp_path)


def test_an_output_without_the_batch_is_refused(tmp_path):
    b = Builder()
    b.op("ReduceSum", "x", keepdims=0, to="y")
    model = b.model([("x", T.FLOAT, [1, 8])], [("y", T.FLOAT, [])])

    with pytest.raises(ConvertError, match="does not reach output 'y'"):
        freed(model, tmp_path)


def test_a_batch_that_is_free_already_is_refused(tmp_path):
    b = Builder()
    b.op("Relu", "x", to="y")
    model = b.model([("x", T.FLOAT, ["n", 8])], [("y", T.FLOAT, ["n", 8])])

    with pytest.raises(ConvertError, match="no fixed batch axis"):
        freed(model, tmp_path)


def test_shapes_beyond_a_fixed_batch_name_the_option(tmp_path):
    shapes = {"x": bounds((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))}
    spec = ConvertSpec(
        source=saved(upsampled(), tmp_path / "source.onnx"),
        output=tmp_path / "out" / "model.onnx",
        profiles=(shapes,),
    )

    with pytest.raises(SpecError) as caught:
        convert(spec)

    assert "--free-batch" in caught.value.hint
