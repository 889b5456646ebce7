"""How much of a graph is in a precision: counted by multiplications, where known."""

import numpy as np
import pytest
from convert_networks import Builder, saved
from onnx import TensorProto as T
from onnx import helper

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.precision.observed import Observed
from triton_kit.conversion.precision.share import Share, share_of
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.errors import ConvertError
from triton_kit.options.shapes import ShapeRange

WIDE = 64


def chosen_rows():
    """x (n, 64): one product of all rows, two of the rows that values choose."""
    b = Builder()
    x = b.op("MatMul", "x", b.weight("w0", (WIDE, WIDE), 0.1))
    first = b.op("Gather", "x", b.constant("zero", np.array(0)), axis=1)
    rows = b.op("NonZero", first)
    rows = b.op("Reshape", rows, b.constant("all", np.array([-1])))
    x = b.op("Gather", x, rows, axis=0)
    x = b.op("MatMul", x, b.weight("w1", (WIDE, WIDE), 0.1))
    b.op("MatMul", x, b.weight("w2", (WIDE, WIDE), 0.1), to="y")
    return b.model([("x", T.FLOAT, ["n", WIDE])], [("y", T.FLOAT, ["m", WIDE])])


def fp16_of(model, folder, **fields):
    bounds = ShapeRange(min=(8, WIDE), opt=(WIDE, WIDE), max=(WIDE, WIDE))
    return ConvertSpec(
        source=saved(model, folder / "source.onnx"),
        output=folder / "model.onnx",
        profiles=({"x": bounds},),
        precision="fp16",
        **fields,
    )


def test_work_behind_unknown_shapes_is_counted_by_a_run(tmp_path):
    result = convert(fp16_of(chosen_rows(), tmp_path, keep_fp32=("matmul_0",)))

    assert any(
        "2 of 3" in note and "with 67% of their multiplications" in note
        for note in result.notes
    )


def test_kept_work_behind_unknown_shapes_is_counted_too(tmp_path):
    spec = fp16_of(chosen_rows(), tmp_path, keep_fp32=("matmul_5", "matmul_6"))

    with pytest.raises(ConvertError, match="with 33% of their multiplications"):
        convert(spec)


def test_nodes_count_where_work_is_unknown():
    model = chosen_rows()
    works = {"matmul_0": 100, "matmul_5": None, "matmul_6": 1}

    share = share_of(model, "fp16", works)

    assert share == Share(0, 3, None)
    assert not share.is_enough
    assert Share(2, 3, None).is_enough
    assert Share(2, 3, None).text == "2 of 3 Conv, Gemm, MatMul and recurrent nodes"


def works_of(make, inputs):
    """Return the multiplications of a graph of one node, `n`, for inputs by shape."""
    b = Builder()
    op, names, weights, attributes = make
    for name, shape in weights.items():
        b.weight(name, shape)
    node = helper.make_node(op, names, ["y"], name="n", **attributes)
    b.nodes.append(node)
    model = b.model(
        [(name, T.FLOAT, [None] * len(shape)) for name, shape in inputs.items()],
        [("y", T.FLOAT, None)],
    )
    observed = Observed(
        model, calibration=None, verification=(), best=inputs, timeout_s=60
    )
    return observed.works


@pytest.mark.parametrize(
    ("make", "inputs", "expected"),
    [
        (("MatMul", ["x", "w"], {"w": (4, 5)}, {}), {"x": (2, 3, 4)}, 2 * 3 * 4 * 5),
        (("MatMul", ["w", "x"], {"w": (5, 4)}, {}), {"x": (4, 3)}, 5 * 4 * 3),
        (("MatMul", ["x", "z"], {}, {}), {"x": (7, 2, 4), "z": (7, 4, 3)}, 168),
        (("Gemm", ["x", "w"], {"w": (5, 4)}, {"transB": 1}), {"x": (3, 4)}, 60),
        (("Gemm", ["x", "w"], {"w": (4, 5)}, {"transA": 1}), {"x": (4, 3)}, 60),
        (
            ("Conv", ["x", "w"], {"w": (6, 2, 3, 3)}, {"group": 2}),
            {"x": (1, 4, 8, 8)},
            6 * 6 * 6 * 2 * 9,
        ),
        (
            ("ConvTranspose", ["x", "w"], {"w": (4, 6, 2, 2)}, {"strides": [2, 2]}),
            {"x": (1, 4, 8, 8)},
            4 * 8 * 8 * 6 * 4,
        ),
        (
            (
                "GRU",
                ["x", "w", "r"],
                {"w": (1, 15, 4), "r": (1, 15, 5)},
                {"hidden_size": 5},
            ),
            {"x": (7, 2, 4)},
            7 * 2 * 15 * (4 + 5),
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_multiplications_of_each_operator(make, inputs, expected):
    assert works_of(make, inputs) == {"n": expected}


def test_recurrent_layers_that_cannot_become_int8_are_named(tmp_path):
    b = Builder()
    x = b.op("MatMul", "x", b.weight("first", (4, 8)))
    weights = b.weight("w", (1, 48, 8)), b.weight("r", (1, 48, 16))
    b.op("GRU", x, *weights, hidden_size=16, to="y")
    model = b.model([("x", T.FLOAT, [6, "n", 4])], [("y", T.FLOAT, [6, 1, "n", 16])])
    spec = ConvertSpec(
        source=saved(model, tmp_path / "source.onnx"),
        output=tmp_path / "model.onnx",
        precision="int8-dynamic",
    )

    with pytest.raises(ConvertError, match="GRU cannot"):
        convert(spec)
