"""Engines of TensorRT for RTX, built without a GPU; and plans where there is none."""

import re
import shlex
from importlib.util import find_spec

import onnx
import pytest
from convert_networks import Builder, T, saved

from triton_kit.artifact import inspect_plan
from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.tensorrt.builder_options import parse_options
from triton_kit.conversion.tensorrt.engine import build_engine
from triton_kit.errors import ConvertError, SpecError
from triton_kit.options.conversion import Gate
from triton_kit.options.shapes import ShapeRange

needs_rtx = pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None, reason="TensorRT for RTX is not installed"
)
needs_no_tensorrt = pytest.mark.skipif(
    find_spec("tensorrt") is not None, reason="TensorRT is installed: a plan is built"
)
FLOORS_DB = {"fp32": 90, "fp16": 60, "bf16": 35, "int8": 30, "fp8": 20}


@needs_rtx
@pytest.mark.parametrize("precision", FLOORS_DB)
@pytest.mark.parametrize("network", ["cnn", "transformer"])
def test_engines_are_built_from_what_passed_the_gate(order, network, precision):
    result = convert(order(network, precision=precision, format="rtx"))

    assert inspect_plan(result.artifact).kind == "tensorrt-rtx"
    assert result.accuracy.min_snr_db >= FLOORS_DB[precision]
    engine = result.manifest["engine"]
    assert engine["version"] == inspect_plan(result.artifact).version_text
    assert engine["layers"] > 0


@needs_rtx
def test_optimisation_level_0_reaches_the_builder(order, tmp_path):
    """A test for truth would drop it: 0 is false, and a level."""
    with pytest.raises(SpecError, match="optimization_level"):
        parse_options({"optimization_level": "-1"})

    assert parse_options({"optimization_level": "0"}) == {"optimization_level": 0}
    options = {"optimization_level": "0"}
    result = convert(order("cnn", format="rtx", options=options))
    assert result.manifest["spec"]["options"] == options


@needs_rtx
def test_two_profiles_make_a_larger_engine(order):
    small = ShapeRange(min=(1, 3, 32, 32), opt=(1, 3, 32, 32), max=(2, 3, 32, 32))
    large = ShapeRange(min=(4, 3, 32, 32), opt=(8, 3, 32, 32), max=(32, 3, 32, 32))

    one = convert(order("cnn", format="rtx", profiles=({"image": small},)))
    two = convert(
        order("cnn", format="rtx", profiles=({"image": small}, {"image": large}))
    )

    assert two.after.bytes > one.after.bytes
    assert "profile 1 max" in two.accuracy.points


@needs_rtx
def test_a_profile_that_the_builder_refuses_fails_the_build(networks, tmp_path):
    """The builder answers -1, and builds without that profile."""
    source = networks / "cnn.onnx"
    spec = ConvertSpec(source=source, output=tmp_path / "x.engine", format="rtx")
    good = ShapeRange(min=(1, 3, 32, 32), opt=(4, 3, 32, 32), max=(8, 3, 32, 32))
    bad = ShapeRange(min=(1, 4, 32, 32), opt=(4, 4, 32, 32), max=(8, 4, 32, 32))

    with pytest.raises(ConvertError, match=r"does not build it"):
        build_engine(source, spec, ({"image": good}, {"image": bad}), scratch=tmp_path)


@needs_rtx
def test_a_workspace_that_is_too_small_is_the_builders_to_refuse(order):
    with pytest.raises(ConvertError, match="does not build it"):
        convert(order("transformer", format="rtx", options={"workspace": "1"}))


@needs_rtx
def test_an_operator_that_tensorrt_lacks_is_named(tmp_path):
    source = tmp_path / "plugin.onnx"
    node = onnx.helper.make_node("MyPlugin", ["x"], ["y"], domain="mine", name="p")
    model = Builder().model([("x", T.FLOAT, [2, 4])], [("y", T.FLOAT, [2, 4])])
    model.graph.node.append(node)
    model.opset_import.append(onnx.helper.make_opsetid("mine", 1))
    onnx.save(model, source)
    spec = ConvertSpec(source=source, output=tmp_path / "x.engine", format="rtx")

    with pytest.raises(ConvertError, match="MyPlugin") as caught:
        build_engine(source, spec, ({},), scratch=tmp_path)

    assert "--pass" in caught.value.hint


def test_plugins_are_refused_for_rtx_before_any_work(order):
    """Its parser ends the process when it meets one."""
    with pytest.raises(SpecError, match="plugins is not for TensorRT for RTX"):
        convert(order("cnn", format="rtx", options={"plugins": "a.so"}))


@pytest.mark.parametrize("name", ["timing_cache", "hardware_compatibility", "dla_core"])
def test_options_without_effect_on_rtx_are_refused(order, name):
    value = {"hardware_compatibility": "ampere_plus", "dla_core": "0"}.get(name, "file")

    with pytest.raises(SpecError, match=f"{name} is not for"):
        convert(order("cnn", format="rtx", options={name: value}))


@needs_rtx
def test_hardware_of_an_engine_can_be_chosen(order):
    result = convert(order("cnn", format="rtx", options={"hardware": "8.9"}))

    assert result.artifact.stat().st_size > 0


@needs_no_tensorrt
def test_a_plan_without_tensorrt_ends_with_the_command_that_builds_it(order):
    spec = order(
        "cnn",
        format="plan",
        precision="fp16",
        release="25.10",
        options={"workspace": "2G", "optimization_level": "0"},
    )

    with pytest.raises(ConvertError, match="TensorRT is not installed here") as caught:
        convert(spec)

    words = shlex.split(caught.value.hint.splitlines()[-1])
    onnx_file = spec.output.with_suffix(".onnx")
    assert onnx_file.is_file()
    assert not spec.output.exists()
    assert "nvcr.io/nvidia/tensorrt:25.10-py3" in words
    assert {
        "--onnx=/work/model.onnx",
        "--minShapes=image:1x3x32x32",
        "--optShapes=image:8x3x32x32",
        "--maxShapes=image:16x3x32x32",
        "--builderOptimizationLevel=0",
        f"--memPoolSize=workspace:{2 << 30}B",
        "--noTF32",
    } <= set(words)
    (saved,) = [word for word in words if word.startswith("--saveEngine=")]
    assert re.fullmatch(r"--saveEngine=/work/model-[0-9a-f]{12}\.plan", saved)


@needs_rtx
def test_a_dry_run_checks_with_rtx_and_writes_nothing(order):
    spec = order("cnn", format="plan", precision="int8", dry_run=True)

    result = convert(spec)

    assert result.accuracy.min_snr_db >= 30
    assert list(spec.output.parent.iterdir()) == []


@needs_rtx
def test_a_dry_run_finds_what_the_parser_rejects(tmp_path):
    b = Builder()
    b.op("Det", "x", to="y")  # ONNX Runtime computes it, TensorRT does not
    model = b.model([("x", T.FLOAT, ["n", 3, 3])], [("y", T.FLOAT, ["n"])])
    spec = ConvertSpec(
        source=saved(model, tmp_path / "det.onnx"),
        output=tmp_path / "x.plan",
        format="plan",
        dry_run=True,
        gate=Gate(),
    )

    with pytest.raises(ConvertError, match="Det"):
        convert(spec)


def test_options_are_held_against_the_target_release(order):
    with pytest.raises(SpecError, match="TensorRT 11 builds for no DLA"):
        convert(order("cnn", format="plan", release="26.06", options={"dla_core": "0"}))


@needs_rtx
@needs_no_tensorrt
def test_a_dry_run_says_that_only_rtx_refused(tmp_path):
    b = Builder()
    b.op("Transpose", b.op("NonZero", "x"), to="y", perm=[1, 0])
    model = b.model([("x", T.FLOAT, [4, 4])], [("y", T.INT64, ["found", 2])])
    spec = ConvertSpec(
        source=saved(model, tmp_path / "m.onnx"),
        output=tmp_path / "out" / "model.plan",
        format="plan",
        dry_run=True,
    )

    with pytest.raises(ConvertError, match="dry run: TensorRT for RTX") as caught:
        convert(spec)

    assert "lacks operators that TensorRT has" in caught.value.hint
