"""Every trap that was measured: each of these gave a crash or a wrong answer once."""

import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from convert_networks import Builder, T, cnn, saved
from onnx import numpy_helper

from triton_kit.conversion.onnx.onnx_file import all_nodes
from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.precision.lower import lower_array
from triton_kit.conversion.precision.ranges import observe
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.errors import ConvertError, VerifyError
from triton_kit.options.conversion import Calibration, Gate
from triton_kit.options.shapes import ShapeRange

OPEN = (
    "import sys, onnxruntime as o; s = o.SessionOptions(); s.log_severity_level = 4; "
    "o.InferenceSession(sys.argv[1], s, providers=['CPUExecutionProvider'])"
)


def spec_of(model, tmp_path, shapes, **fields):
    source = saved(model, tmp_path / "source.onnx")
    profile = {n: ShapeRange(min=a, opt=b, max=c) for n, (a, b, c) in shapes.items()}
    output = tmp_path / "out" / "model.onnx"
    output.parent.mkdir(exist_ok=True)
    given = {"source": source, "output": output, "profiles": (profile,)}
    return ConvertSpec(**given | fields)


def run(path, level=ort.GraphOptimizationLevel.ORT_DISABLE_ALL, **feed):
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, feed)[0]


def test_a_crash_of_the_runtimes_optimiser_costs_only_that_level(tmp_path):
    b = Builder()
    x = b.op("Transpose", "x", perm=[1, 0, 2])
    b.op("MatMul", x, b.weight("w", (8, 8)), to="y")
    model = b.model([("x", T.FLOAT, ["b", "s", 8])], [("y", T.FLOAT, ["s", "b", 8])])
    shapes = {"x": ((1, 1, 8), (2, 4, 8), (2, 9, 8))}

    result = convert(spec_of(model, tmp_path, shapes, precision="fp16"))

    # If this fails, ONNX Runtime no longer crashes: the level may go up again.
    opened = subprocess.run([sys.executable, "-c", OPEN, result.artifact], check=False)
    assert opened.returncode == -11
    assert result.accuracy.runtime_level == "extended"
    assert any("SIGSEGV" in note for note in result.notes)


def test_float16_overflow_is_seen_although_the_cpu_hides_it(tmp_path):
    b = Builder()
    b.constant("up", np.float32(300))
    b.constant("down", np.float32(1 / 300))
    x = b.op("Mul", b.op("Mul", "x", "up"), "up")
    b.op("Mul", b.op("Mul", x, "down"), "down", to="y")
    model = b.model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])])
    spec = spec_of(
        model,
        tmp_path,
        {"x": ((1, 4), (8, 4), (8, 4))},
        precision="fp16",
        simplify=False,
        ranges={"x": (0.5, 2.0)},
    )

    result = convert(spec)

    x = np.array([[0.5, 1, 1.5, 2]], np.float32)
    np.testing.assert_allclose(run(result.artifact, x=x), x, rtol=2e-3)
    assert any("fp16 ends at 65504" in why for why in result.kept_fp32.values())


def test_a_value_that_float16_holds_is_kept_for_what_other_data_may_reach(tmp_path):
    b = Builder()
    x = b.op("Mul", "x", b.constant("up", np.float32(40_000)))
    x = b.op("Sin", b.op("Mul", x, b.constant("down", np.float32(1 / 40_000))))
    b.op("MatMul", x, b.weight("w", (4, 4)), to="y")
    model = b.model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])])
    spec = spec_of(
        model,
        tmp_path,
        {"x": ((1, 4), (8, 4), (8, 4))},
        precision="fp16",
        simplify=False,
        ranges={"x": (0.9, 1.0)},
    )

    kept = convert(spec).kept_fp32

    assert any("other data may reach twice as much" in why for why in kept.values())


def test_the_gate_fails_a_graph_that_overflows_where_it_stores_float16(tmp_path):
    half = [
        numpy_helper.from_array(np.array(v, np.float16), n)
        for n, v in (("up", 300), ("down", 1 / 300))
    ]
    nodes = [
        onnx.helper.make_node("Cast", ["x"], ["h"], to=T.FLOAT16),
        onnx.helper.make_node("Mul", ["h", "up"], ["a"]),
        onnx.helper.make_node("Mul", ["a", "up"], ["b"]),
        onnx.helper.make_node("Mul", ["b", "down"], ["c"]),
        onnx.helper.make_node("Mul", ["c", "down"], ["d"]),
        onnx.helper.make_node("Cast", ["d"], ["y"], to=T.FLOAT),
    ]
    model = Builder().model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])])
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(half)
    ones = np.ones((1, 4), np.float32)

    # The CPU's float16 kernels leave the rounding out: no overflow to be seen.
    path = saved(model, tmp_path / "direct.onnx")
    assert np.isfinite(run(path, x=ones)).all()
    shapes = {"x": ((1, 4), (8, 4), (8, 4))}
    spec = spec_of(model, tmp_path, shapes, ranges={"x": (1, 2)})
    with pytest.raises(VerifyError, match="NaN or Inf"):
        convert(spec)


def test_constants_out_of_range_are_not_clamped(tmp_path):
    b = Builder()
    b.constant("large", np.float32(1e6))
    b.constant("small", np.float32(1e-9))
    b.op("Relu", b.op("Mul", b.op("Mul", "x", "large"), "small"), to="y")
    model = b.model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])])
    shapes = {"x": ((1, 4), (8, 4), (8, 4))}

    result = convert(spec_of(model, tmp_path, shapes, precision="fp16", simplify=False))

    ones = np.ones((1, 4), np.float32)
    np.testing.assert_allclose(run(result.artifact, x=ones), 1e-3, rtol=2e-3)
    assert len(result.kept_fp32) == 2


def test_lowering_refuses_to_make_an_infinity():
    with pytest.raises(ConvertError, match="1e\\+06"):
        lower_array(np.array([1e6], np.float32), "fp16", "w")


def test_a_quantised_source_keeps_its_scales_in_float32(order, tmp_path):
    """int8 first and fp16 after gave -2.7 dB without an error."""
    int8 = convert(order("cnn", precision="int8", symmetric=True)).artifact
    source = tmp_path / "int8.onnx"
    source.write_bytes(int8.read_bytes())

    result = convert(
        order("cnn", source=source, precision="fp16", gate=Gate(min_snr_db=50))
    )

    types = {t.name: t.data_type for t in onnx.load(result.artifact).graph.initializer}
    scales = [t for name, t in types.items() if name.endswith("_scale")]
    assert scales
    assert set(scales) == {T.FLOAT}
    assert result.accuracy.runtime_level is not None


def test_int8_on_a_quantised_source_is_refused(order, tmp_path):
    source = tmp_path / "int8.onnx"
    source.write_bytes(convert(order("cnn", precision="int8")).artifact.read_bytes())

    with pytest.raises(ConvertError, match="quantised already"):
        convert(order("cnn", source=source, precision="int8"))


def test_int8_scales_are_float16_only_after_lowering(order):
    """The order that works: float16 first, then Q/DQ with float16 scales."""
    result = convert(order("cnn", precision="int8", symmetric=True, rest="fp16"))

    assert result.accuracy.min_snr_db >= 30
    assert result.accuracy.runtime_level is not None


def test_a_sequence_length_that_was_baked_in_is_found(tmp_path):
    """The old torch exporter wrote the traced length into Reshape."""
    b = Builder()
    b.constant("shape", np.array([-1, 16, 2, 4], np.int64))
    b.op("Reshape", "x", "shape", to="y")
    model = b.model([("x", T.FLOAT, ["b", "s", 8])], [("y", T.FLOAT, ["b", "s", 2, 4])])
    traced = {"x": ((1, 16, 8), (2, 16, 8), (2, 16, 8))}
    convert(spec_of(model, tmp_path, traced))

    with pytest.raises(VerifyError, match="profile 0 min") as caught:
        convert(spec_of(model, tmp_path, {"x": ((1, 1, 8), (2, 16, 8), (3, 40, 8))}))

    assert "axes free" in caught.value.hint


def test_axes_that_the_kit_chose_are_named_where_the_model_does_not_run(tmp_path):
    b = Builder()
    b.op("MatMul", "x", b.weight("w", (7, 3)), to="y")
    model = b.model([("x", T.FLOAT, ["n", "k"])], [("y", T.FLOAT, ["n", 3])])

    with pytest.raises(VerifyError, match="does not run") as caught:
        convert(spec_of(model, tmp_path, {}))

    assert caught.value.hint.startswith("the kit chose the free axes of 'x': give")


def test_calibration_sees_every_sample_and_not_just_the_last(tmp_path):
    b = Builder()
    b.op("Identity", "x", to="y")
    model = b.model([("x", T.FLOAT, ["n", 2])], [("y", T.FLOAT, ["n", 2])])
    samples = [np.full((1, 2), value, np.float32) for value in (-7, 100, 1, 2)]

    ranges = observe(model, [{"x": s} for s in samples], histograms=False, timeout_s=60)

    assert (ranges["x"].low, ranges["x"].high) == (-7, 100)
    assert ranges["x"].samples == 4


def test_int8_scales_change_when_the_first_sample_does(tmp_path):
    model = cnn()
    images = np.random.default_rng(0).standard_normal((20, 3, 32, 32))
    scales = []
    for factor in (1, 50):
        samples = images.astype(np.float32).copy()
        samples[0] *= factor
        np.savez(tmp_path / "samples.npz", image=samples)
        spec = spec_of(
            model,
            tmp_path,
            {"image": ((1, 3, 32, 32), (8, 3, 32, 32), (8, 3, 32, 32))},
            precision="int8",
            calibration=Calibration(data=tmp_path / "samples.npz"),
            gate=Gate(min_snr_db=-100),
        )
        weights = onnx.load(convert(spec).artifact).graph.initializer
        scales.append(
            next(numpy_helper.to_array(t) for t in weights if t.name == "image_scale")
        )

    assert scales[1] > 20 * scales[0]


def test_no_artifact_holds_operators_of_the_runtime_alone(order):
    """ONNX Runtime's extended optimiser writes com.microsoft: TensorRT rejects it."""
    for precision in ("fp32", "fp16", "int8"):
        model = onnx.load(convert(order("cnn", precision=precision)).artifact)

        domains = {node.domain for node in all_nodes(model.graph)}
        assert domains <= {"", "ai.onnx"}


def test_one_wrong_row_in_many_does_not_pass(tmp_path):
    b = Builder()
    b.op("Identity", "x", to="y")
    model = b.model([("x", T.FLOAT, ["n", 2])], [("y", T.FLOAT, ["n", 2])])
    source = saved(model, tmp_path / "good.onnx")
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((4000, 2)).astype(np.float32)
    samples[1234] = (3.25, 3.25)
    np.savez(tmp_path / "samples.npz", x=samples)
    bad = spec_of(
        model,
        tmp_path,
        {"x": ((1, 2), (1000, 2), (1000, 2))},
        verify_data=tmp_path / "samples.npz",
        passes=("zero_one_row:rewrite",),
        root=tmp_path,
        gate=Gate(min_snr_db=25),
    )
    (tmp_path / "zero_one_row.py").write_text(ZERO_ONE_ROW)

    with pytest.raises(VerifyError, match="one row"):
        convert(bad)

    assert source.exists()
    assert not bad.output.exists()


ZERO_ONE_ROW = """
import numpy as np
from onnx import helper, numpy_helper


def rewrite(model):
    # y = 0 where x is exactly 3.25: one row of four thousand
    weights = [("mark", np.float32(3.25)), ("zero", np.float32(0))]
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(v), n) for n, v in weights
    )
    del model.graph.node[:]
    model.graph.node.extend([
        helper.make_node("Equal", ["x", "mark"], ["is_mark"]),
        helper.make_node("Where", ["is_mark", "zero", "x"], ["y"]),
    ])
    return model
"""


def test_a_note_says_when_the_samples_prove_little(tmp_path):
    b = Builder()
    b.constant("tiny", np.float32(1e-9))
    b.constant("one", np.float32(1))
    b.op("Add", b.op("Mul", "x", "tiny"), "one", to="y")
    model = b.model([("x", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])])

    result = convert(spec_of(model, tmp_path, {"x": ((1, 4), (8, 4), (8, 4))}))

    assert any("hardly varies" in note for note in result.notes)


def test_the_manifest_has_no_infinity(order):
    result = convert(order("cnn"))

    text = (result.artifact.parent / "manifest.json").read_text()
    assert "Infinity" not in text
    assert json.loads(text)["accuracy"]["outputs"][0]["snr_db"] is None
