"""What float16 and bfloat16 lose inside of a node, and branches that never ran."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from convert_networks import Builder, T, saved
from onnx import numpy_helper

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.precision import ranges_worker
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.workers.models import write_feeds
from triton_kit.options.shapes import ShapeRange


def spec_of(model, tmp_path, shapes, **fields):
    source = saved(model, tmp_path / "source.onnx")
    profile = {n: ShapeRange(min=a, opt=b, max=c) for n, (a, b, c) in shapes.items()}
    output = tmp_path / "out" / "model.onnx"
    output.parent.mkdir(exist_ok=True)
    given = {"source": source, "output": output, "profiles": (profile,)}
    return ConvertSpec(**given | fields)


def kept_by_fp16(build, tmp_path, shape, values):
    """Convert a network of one input and output to fp16; return what stayed fp32."""
    b = Builder()
    build(b)
    row = ["n", *shape[1:]]
    model = b.model([("x", T.FLOAT, row)], [("y", T.FLOAT, row)])
    shapes = {"x": (shape, shape, shape)}
    np.savez(tmp_path / "values.npz", x=values)
    spec = spec_of(
        model, tmp_path, shapes, precision="fp16", verify_data=tmp_path / "values.npz"
    )
    return convert(spec).kept_fp32


def test_a_mean_whose_sum_overflows_inside_stays_float32(tmp_path):
    values = np.random.default_rng(0).uniform(80, 120, (2, 2048)).astype(np.float32)

    def mean(b):
        mean = b.op("ReduceMean", "x", axes=[1])
        b.op("Sub", "x", mean, to="y")

    kept = kept_by_fp16(mean, tmp_path, (2, 2048), values)

    assert "its sum reaches" in kept["reducemean_0"]
    assert "sub_1" not in kept


def test_a_logarithm_behind_a_tiny_epsilon_stays_float32(tmp_path):
    values = np.abs(np.random.default_rng(0).standard_normal((4, 64)))
    values[:, ::4] = 0

    def logarithm(b):
        safe = b.op("Add", "x", b.constant("eps", np.float32(1e-10)))
        b.op("Tanh", b.op("Log", safe), to="y")

    kept = kept_by_fp16(logarithm, tmp_path, (4, 64), values.astype(np.float32))

    assert {"add_0", "log_1"} <= set(kept)
    assert "tanh_2" not in kept


def test_a_mask_of_the_largest_float32_is_no_infinity_in_bf16(tmp_path):
    b = Builder()
    mask = np.where(np.arange(8) < 5, 0, np.finfo(np.float32).min).astype(np.float32)
    b.op("Softmax", b.op("Add", "x", b.constant("mask", mask)), axis=-1)
    b.op("MatMul", "softmax_1_out", b.weight("w", (8, 8)), to="y")
    model = b.model([("x", T.FLOAT, ["n", 8])], [("y", T.FLOAT, ["n", 8])])
    shapes = {"x": ((1, 8), (4, 8), (8, 8))}

    result = convert(spec_of(model, tmp_path, shapes, precision="bf16"))

    assert "beyond bf16" in result.kept_fp32["add_0"]
    assert result.accuracy.min_snr_db > 30


def with_if(condition_of):
    """Double positive sums, negate the others."""
    branches = {
        f"{name}_branch": onnx.helper.make_graph(
            [onnx.helper.make_node(op, ["x", *more], [name])],
            name,
            [],
            [onnx.helper.make_tensor_value_info(name, T.FLOAT, None)],
        )
        for name, op, more in (("then", "Add", ["x"]), ("else", "Neg", []))
    }
    b = Builder()
    total = b.op("ReduceSum", condition_of(b), keepdims=0)
    positive = b.op("Greater", total, b.constant("zero", np.float32(0)))
    b.op("If", positive, to="y", **branches)
    return b.model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])])


@pytest.mark.parametrize(
    ("condition_of", "is_noted"),
    [(lambda b: b.op("Abs", "x"), True), (lambda _: "x", False)],
    ids=["always positive", "either"],
)
def test_a_branch_that_never_ran_is_noted(tmp_path, condition_of, is_noted):
    values = np.where(np.arange(8)[:, None] % 2, 1.0, -1.0) * np.ones((8, 4))
    np.savez(tmp_path / "v.npz", x=values.astype(np.float32))
    shapes = {"x": ((1, 4), (1, 4), (1, 4))}
    spec = spec_of(
        with_if(condition_of), tmp_path, shapes, verify_data=tmp_path / "v.npz"
    )

    notes = [n for n in convert(spec).notes if "only the then branch" in n]

    assert len(notes) == is_noted


def test_a_source_that_computes_in_bfloat16_converts(tmp_path):
    weight = np.random.default_rng(0).standard_normal((4, 4)).astype(ml_dtypes.bfloat16)
    make = onnx.helper.make_node
    graph = onnx.helper.make_graph(
        [
            make("Cast", ["x"], ["low"], to=T.BFLOAT16),
            make("MatMul", ["low", "w"], ["product"]),
            make("Cast", ["product"], ["y"], to=T.FLOAT),
        ],
        "bf16",
        [onnx.helper.make_tensor_value_info("x", T.FLOAT, ["n", 4])],
        [onnx.helper.make_tensor_value_info("y", T.FLOAT, ["n", 4])],
        [numpy_helper.from_array(weight, "w")],
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)

    result = convert(spec_of(model, tmp_path, {"x": ((1, 4), (4, 4), (8, 4))}))

    assert result.precision == "bf16"
    assert result.accuracy.method == "rounded"


@pytest.mark.parametrize(("batch", "parts"), [("n", [1, 10, 9]), (20, [20])])
def test_long_batches_are_observed_in_parts_that_fit(
    tmp_path, monkeypatch, batch, parts
):
    b = Builder()
    b.op("Relu", "x", to="y")
    model = b.model([("x", T.FLOAT, [batch, 8])], [("y", T.FLOAT, [batch, 8])])
    values = np.random.default_rng(0).standard_normal((20, 8)).astype(np.float32)
    files = write_feeds([{"x": values}], tmp_path / "feeds")
    request = {
        "model": str(saved(model, tmp_path / "m.onnx")),
        "values": ["x", "y"],
        "feeds": [str(path) for path in files.paths],
        "names": files.names,
    }
    row_bytes = 2 * 8 * 4  # x and y
    monkeypatch.setattr(ranges_worker, "MOST_BYTES", 10 * row_bytes)

    found = list(ranges_worker.values_by_feed(request))

    assert [len(x) for x, _ in found] == parts
    assert np.array_equal(np.concatenate([x for x, _ in found]), values)
