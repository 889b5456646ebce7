"""The precision passes one by one, and what chooses between them."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from convert_networks import Builder, T, cnn, saved
from onnx import numpy_helper

from triton_kit.conversion.onnx.onnx_file import load_onnx, measure, save_onnx
from triton_kit.conversion.onnx.sparsity import prune_2_4
from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.precision.emulate import emulated
from triton_kit.conversion.precision.lower import lower_floats
from triton_kit.conversion.precision.ranges import ValueRange, limits
from triton_kit.conversion.results.summary import result_lines
from triton_kit.conversion.search.timing import cheapest
from triton_kit.conversion.spec import ConvertSpec, TriedPrecision
from triton_kit.errors import VerifyError
from triton_kit.options.conversion import Calibration, Gate
from triton_kit.options.shapes import ShapeRange


def types_of(path):
    return {t.data_type for t in onnx.load(path).graph.initializer}


def test_a_body_of_control_flow_reads_what_it_read_before(tmp_path):
    """A Loop's body captures a value that is float16 outside."""
    body = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Add", ["state", "scaled"], ["next"]),
            onnx.helper.make_node("Identity", ["on"], ["still"]),
        ],
        "body",
        [
            onnx.helper.make_tensor_value_info("i", T.INT64, []),
            onnx.helper.make_tensor_value_info("on", T.BOOL, []),
            onnx.helper.make_tensor_value_info("state", T.FLOAT, None),
        ],
        [
            onnx.helper.make_tensor_value_info("still", T.BOOL, []),
            onnx.helper.make_tensor_value_info("next", T.FLOAT, None),
        ],
    )
    b = Builder()
    b.constant("three", np.array(3, np.int64))
    b.constant("true", np.array(True))
    b.op("MatMul", "x", b.weight("w", (4, 4)), to="scaled")
    b.op("Loop", "three", "true", "x", to="y", body=body)
    model = b.model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])])
    shapes = ShapeRange(min=(1, 4), opt=(4, 4), max=(8, 4))

    result = convert(
        ConvertSpec(
            source=saved(model, tmp_path / "loop.onnx"),
            output=tmp_path / "model.onnx",
            profiles=({"x": shapes},),
            precision="fp16",
        )
    )

    assert list(result.kept_fp32.values()) == ["control flow"]
    assert result.accuracy.min_snr_db >= 60


def test_bfloat16_is_rounded_as_a_gpu_would(tmp_path):
    b = Builder()
    b.constant("one", np.float32(1.001))  # bfloat16 has 1.0
    b.op("Mul", "x", "one", to="y")
    model = b.model([("x", T.FLOAT, [2])], [("y", T.FLOAT, [2])], opset=22)
    model.ir_version = 10

    low = emulated(lower_floats(model, to="bf16", keep={}).model)

    path = saved(low, tmp_path / "low.onnx")
    import onnxruntime as ort

    x = np.array([1.0, 3.0], np.float32)
    (y,) = ort.InferenceSession(path).run(None, {"x": x})
    np.testing.assert_array_equal(y, x)


def test_symmetric_weights_have_a_scale_per_channel_and_no_zero_points(order):
    result = convert(order("cnn", precision="int8", symmetric=True))

    weights = {t.name: t for t in onnx.load(result.artifact).graph.initializer}
    assert list(weights["w2_axis0_scale"].dims) == [16]
    assert list(weights["w4_axis0_scale"].dims) == [10]  # Gemm with transB
    assert weights["w2_axis0_int8"].data_type == T.INT8
    assert "w2" not in weights
    zeros = [weight for name, weight in weights.items() if name.endswith("_zero")]
    assert zeros
    assert not any(numpy_helper.to_array(zero).any() for zero in zeros)


def test_no_bias_is_quantised_for_tensorrt(order):
    result = convert(order("cnn", precision="int8", symmetric=True, rest="fp16"))

    assert T.INT32 not in types_of(result.artifact)


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_every_calibration_method_passes_on_the_cnn(order, networks, method):
    calibration = Calibration(data=networks / "cnn.npz", method=method)

    result = convert(order("cnn", precision="int8", calibration=calibration))

    assert result.accuracy.min_snr_db >= 30


def test_percentile_leaves_outliers_out_and_minmax_does_not():
    counts = np.zeros(2048, np.int64)
    counts[:100] = 1000
    counts[-1] = 1  # one value in a hundred thousand
    found = {"x": ValueRange(low=-20.48, high=20.48, samples=1, histogram=counts)}

    assert limits(found, method="minmax", percentile=99.9)["x"] == (-20.48, 20.48)
    low, high = limits(found, method="percentile", percentile=99.9)["x"]
    assert high == pytest.approx(1.0, abs=0.02)
    assert low == -high


def test_entropy_keeps_less_than_all_of_a_long_tail():
    rng = np.random.default_rng(0)
    values = np.abs(rng.laplace(size=1_000_000))
    counts, _ = np.histogram(values, 2048, (0, values.max()))
    top = float(values.max())
    found = {"x": ValueRange(low=-top, high=top, samples=1, histogram=counts)}

    _, high = limits(found, method="entropy", percentile=99.99)["x"]

    assert 0.2 * top < high < 0.95 * top


def test_two_of_every_four_weights_are_pruned_and_the_larger_stay():
    model = cnn()
    before = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}

    report = prune_2_4(model)

    after = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert set(report.pruned) == {"w2", "w3", "w4"}
    assert report.skipped == {"w1": (16, 3, 3, 3)}  # three input channels
    for name in report.pruned:
        kept = after[name] != 0
        groups = np.moveaxis(kept, 1, -1).reshape(-1, 4)
        assert (groups.sum(axis=1) <= 2).all()
        assert kept.mean() == 0.5
        assert np.abs(before[name][kept]).mean() > np.abs(before[name][~kept]).mean()
    np.testing.assert_array_equal(after["b2"], before["b2"])


def test_pruning_that_costs_accuracy_does_not_pass(order):
    with pytest.raises(VerifyError) as caught:
        convert(order("cnn", sparsity="2:4"))

    assert "train with 2:4" in caught.value.hint


def test_weights_that_are_sparse_already_pass_and_are_reported(order, tmp_path):
    model = cnn()
    prune_2_4(model)
    source = saved(model, tmp_path / "sparse.onnx")

    result = convert(order("cnn", source=source, sparsity="2:4"))

    assert result.accuracy.min_snr_db >= 90
    assert result.manifest["sparsity"]["pruned"]["w2"] == 1.0


def test_auto_chooses_the_fastest_that_passes(order):
    result = convert(order("cnn", precision="auto"))

    rows = {row.precision: row for row in result.tried}
    assert set(rows) == {"int8", "int8-dynamic", "fp16", "fp32"}
    assert "multiplications" in rows["int8-dynamic"].why_not
    chosen = rows[result.precision]
    assert chosen.why_not is None
    fastest = min(
        row.seconds
        for row in result.tried
        if row.seconds and "not measurably faster" not in (row.why_not or "")
    )
    assert fastest <= chosen.seconds <= 1.1 * fastest
    assert all(row.why_not for row in result.tried if row is not chosen)
    assert [row["precision"] for row in result.manifest["tried"]] == list(rows)


def test_auto_leaves_out_what_the_gate_refuses(order):
    result = convert(order("cnn", precision="auto", gate=Gate(min_snr_db=100)))

    assert result.precision == "fp32"
    assert {row.precision for row in result.tried if row.why_not} == {
        "int8",
        "int8-dynamic",
        "fp16",
    }
    assert not any("int8" in note for note in result.notes)
    lines = [line for line in result_lines(result) if "needs 80 dB" in line]
    assert [line[: line.index("'scores'")] for line in lines] == [
        "  int8: output ",
        "  fp16: output ",
    ]
    assert ["with --bisect" in line for line in lines] == [True, False]


def test_auto_without_samples_says_what_it_left_out(order):
    result = convert(order("cnn", precision="auto", calibration=None))

    assert result.precision in ("fp16", "fp32")
    [row] = [row for row in result.tried if row.precision == "int8"]
    assert row.why_not == "no calibration samples"


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ([(2.0, 10), (1.0, 20)], 1),
        ([(1.0, 20), (1.05, 10)], 1),
        ([(1.2, 10), (1.0, 20)], 1),
    ],
    ids=["faster", "as fast and smaller", "smaller and slower"],
)
def test_the_cheapest_is_the_smallest_of_the_fastest(rows, best):
    tried = [TriedPrecision(precision="fp32", seconds=s, bytes=b) for s, b in rows]

    assert cheapest(tried) == best


def test_auto_does_not_try_int8_for_a_gpu(order):
    result = convert(order("cnn", precision="auto", device="gpu"))

    assert result.precision == "fp16"


@pytest.mark.parametrize(("device", "is_warned"), [("cpu", False), ("gpu", True)])
def test_int8_in_an_onnx_file_for_a_gpu_is_warned_of(order, device, is_warned):
    result = convert(order("cnn", precision="int8", device=device))

    assert any("slower than fp32" in note for note in result.notes) is is_warned


def test_a_failed_gate_names_the_nodes_that_lose_most(order):
    gate = Gate(min_snr_db=60)

    with pytest.raises(VerifyError) as caught:
        convert(order("cnn", precision="int8", gate=gate, bisect=False))

    assert "output 'scores'" in caught.value.message
    assert "(Conv," in caught.value.message
    assert "--keep-fp32" in caught.value.hint


def test_a_failed_agreement_names_nodes_and_keeps_its_own_hint(order, tmp_path):
    (tmp_path / "strict.py").write_text(
        "def same(a, b): return float((a['scores'] == b['scores']).all())"
    )
    gate = Gate(function="strict:same")
    spec = order("cnn", precision="int8", gate=gate, root=tmp_path)

    with pytest.raises(VerifyError, match="most is lost in") as caught:
        convert(replace(spec, bisect=False))

    assert "--min-agreement; or --keep-fp32 " in caught.value.hint


def test_bisect_keeps_the_fewest_nodes_that_make_it_pass(order):
    spec = order("cnn", precision="int8", symmetric=True, gate=Gate(min_snr_db=43))
    with pytest.raises(VerifyError):
        convert(replace(spec, bisect=False))

    result = convert(spec)

    kept = [n for n, why in result.kept_fp32.items() if "accuracy" in why]
    assert 1 <= len(kept) < 4  # of three Conv and a Gemm
    note = f"{len(kept)} of 4 nodes stay fp32 for accuracy: {kept[0]!r}"
    assert any(text.startswith(note) for text in result.notes)
    assert result.accuracy.min_snr_db >= 43
    quantised = [
        n
        for n in onnx.load(result.artifact).graph.node
        if n.op_type == "QuantizeLinear"
    ]
    assert quantised


def test_no_single_node_can_leave_what_bisect_keeps(order):
    spec = order("cnn", precision="int8", symmetric=True, gate=Gate(min_snr_db=43))
    kept = convert(spec).kept_fp32
    nodes = [node for node, why in kept.items() if "accuracy" in why]

    for node in nodes:
        fewer = tuple(other for other in nodes if other != node)
        with pytest.raises(VerifyError):
            convert(replace(spec, keep_fp32=fewer, bisect=False))


def test_bisect_never_keeps_all_nodes(order):
    gate = Gate(min_snr_db=140)

    with pytest.raises(VerifyError, match="dB, needs 120") as caught:
        convert(order("cnn", precision="int8", gate=gate, bisect=True))

    assert "cnn.onnx as int8: " in caught.value.message
    assert "no set of nodes kept in fp32 passes" in caught.value.message
    assert caught.value.hint.startswith("choose fp16 or auto (--precision)")


@pytest.mark.parametrize("min_snr_db", [43, pytest.param(45, marks=pytest.mark.long)])
def test_bisect_leaves_the_graph_that_passed_not_the_one_tried_last(order, min_snr_db):
    gate = Gate(min_snr_db=min_snr_db)
    spec = order("cnn", precision="int8", symmetric=True, gate=gate, bisect=True)

    result = convert(spec)

    assert result.after == measure(load_onnx(result.artifact), result.artifact)


def test_nodes_can_be_kept_by_name_and_by_operator(order):
    result = convert(order("cnn", precision="fp16", keep_fp32=("Gemm", "conv_0")))

    assert set(result.kept_fp32) == {"conv_0", "gemm_10"}
    assert T.FLOAT in types_of(result.artifact)


def test_large_weights_go_to_a_file_beside_the_graph(order, tmp_path):
    model = load_onnx(order("cnn").source)
    path = tmp_path / "big.onnx"

    weights = [tensor.raw_data for tensor in model.graph.initializer]

    save_onnx(model, path, external_over_bytes=1000)

    assert [tensor.raw_data for tensor in model.graph.initializer] == weights
    weights = tmp_path / "big.onnx.data"
    assert weights.stat().st_size > 10_000
    assert weights.stat().st_mode == path.stat().st_mode
    assert path.stat().st_size < 12_000
    assert len(load_onnx(path).graph.initializer) == len(model.graph.initializer)
    onnx.checker.check_model(path)
    moved = order("cnn", source=path)
    assert convert(moved).accuracy.min_snr_db >= 90


def test_weights_beside_the_source_count_by_any_name(order, tmp_path):
    path = tmp_path / "apart.onnx"
    onnx.save_model(
        cnn(),
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )

    result = convert(order("cnn", source=path))

    both = path.stat().st_size + (tmp_path / "weights.bin").stat().st_size
    assert result.before.bytes == both
