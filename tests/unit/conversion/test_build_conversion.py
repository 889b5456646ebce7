"""What triton-kit.yaml says of a conversion reaches the converter, and config.pbtxt."""

import json

import onnx
import pytest
from convert_networks import Builder, T, saved
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from triton_kit import errors


def rewrite(project, old, new):
    path = project / "triton-kit.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def with_fields(project, fields):
    rewrite(project, "source: digits.onnx", f"source: digits.onnx\n    {fields}")


def test_precision_calibration_and_gate_come_from_the_project(kit, digits):
    with_fields(
        digits,
        "precision: int8\n"
        "    calibration: {data: data/calibration.npz, method: entropy}\n"
        "    verify: {data: data/test.npz, min_top1_agreement: 0.97}\n"
        "    keep_fp32: [Gemm]",
    )

    result = kit("build", digits)

    assert result.exit_code == 0, result.output
    version = digits / "model_repository" / "digits" / "1"
    facts = json.loads((version / "manifest.json").read_text())["conversion"]
    assert facts["precision"] == "int8"
    assert facts["spec"]["calibration"]["method"] == "entropy"
    assert facts["accuracy"]["outputs"][0]["top1_agreement"] >= 0.97
    types = {t.data_type for t in onnx.load(version / "model.onnx").graph.initializer}
    assert T.INT8 in types


def test_int8_for_a_gpu_is_warned_of(kit, digits):
    with_fields(
        digits, "precision: int8\n    calibration: {data: data/calibration.npz}"
    )
    rewrite(digits, "kind: cpu", "kind: gpu")

    result = kit("build", digits)

    assert result.exit_code == 0, result.output
    assert "runs it slower than fp32" in result.output


def test_a_gate_that_fails_publishes_nothing(kit, digits):
    with_fields(digits, "precision: fp16\n    verify: {min_snr_db: 150}")

    result = kit("build", digits)

    assert result.exit_code == errors.VerifyError.exit_code
    assert "dB, needs" in result.output
    assert not (digits / "model_repository").exists()


def test_the_verified_optimization_level_is_in_the_config(kit, digits):
    """This graph in float16 crashes ONNX Runtime at its highest level."""
    b = Builder()
    x = b.op("Transpose", "x", perm=[1, 0, 2])
    b.op("MatMul", x, b.weight("w", (8, 8)), to="y")
    model = b.model([("x", T.FLOAT, ["b", "s", 8])], [("y", T.FLOAT, ["s", "b", 8])])
    saved(model, digits / "mixed.onnx")
    (digits / "triton-kit.yaml").write_text(
        "name: mixed\n"
        "models:\n"
        "  mixed:\n"
        "    source: mixed.onnx\n"
        "    precision: fp16\n"
        "    inputs: {x: {min: [1, 1, 8], opt: [2, 4, 8], max: [2, 9, 8]}}\n"
    )

    result = kit("build", digits)

    assert result.exit_code == 0, result.output
    text = (digits / "model_repository" / "mixed" / "config.pbtxt").read_text()
    config = text_format.Parse(text, ModelConfig())
    assert config.optimization.graph.level == 1


def test_repeated_conversions_come_from_the_cache(kit, digits, tmp_path):
    with_fields(digits, "precision: fp16")

    kit("build", digits, "--cache", tmp_path / "cache")
    again = kit("build", digits, "--cache", tmp_path / "cache")

    assert again.output.count("unchanged") == 3
    assert list((tmp_path / "cache").glob("*/model.onnx"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("precision: fp12", "precision"),
        ("precision: int8", "needs calibration"),
        ("calibration: {dat: x}", "did you mean 'data'"),
        ("calibration: {data: x.npz, percentile: 20}", "percentile"),
        ("verify: {min_top1_agreement: 99}", "min_top1_agreement"),
        ("profiles: [{image: {min: [0], opt: [1], max: [1]}}]", "profiles"),
    ],
)
def test_invalid_settings_are_reported_with_their_line(kit, digits, fields, words):
    with_fields(digits, fields)

    result = kit("build", digits)

    assert result.exit_code == errors.SpecError.exit_code, result.output
    assert words in result.output
    assert "Traceback" not in result.output
