"""`triton-kit inspect` on everything the converter writes."""

import json

import pytest
from convert_networks import saved, transformer

from triton_kit.conversion.pipeline import convert
from triton_kit.errors import ConvertError, SpecError


def test_an_onnx_file_tells_its_inputs_operators_and_precisions(kit, networks):
    result = kit("inspect", networks / "transformer.onnx")

    assert result.exit_code == 0, result.output
    assert "tokens: INT64 (batch, seq)" in result.output
    assert "17 MatMul" in result.output
    assert "45 FLOAT, 2 INT64" in result.output


def test_json_holds_all_of_it(kit, order):
    artifact = convert(order("cnn", precision="fp16")).artifact

    facts = json.loads(kit("inspect", artifact, "--json").stdout)

    assert facts["precisions"]["weights"] == {"FLOAT16": 6}
    assert facts["ops"]["Cast"] == 2
    assert facts["parameters"] == 3 * 16 * 9 + 16 * 16 * 9 + 16 + 32 * 16 * 9 + 320 + 10
    assert facts["inputs"][0]["axes"] == ["batch", None, None, None]


def test_a_plan_tells_the_tensorrt_and_the_triton_that_load_it(kit, tmp_path):
    plan = tmp_path / "model.plan"
    plan.write_bytes(b"ftrt" + bytes(20) + bytes([10, 13, 3, 9]) + bytes(100))

    result = kit("inspect", plan)

    assert "tensorrt 10.13.3.9" in result.output
    assert "loads in Triton 25.09, 25.10" in result.output


def test_a_manifest_says_whether_its_files_are_intact(kit, order):
    artifact = convert(order("cnn")).artifact
    manifest = artifact.parent / "manifest.json"
    assert "model.onnx: intact" in kit("inspect", manifest).output

    artifact.write_bytes(artifact.read_bytes() + b"\0")

    assert "model.onnx: changed" in kit("inspect", manifest).output


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"", ConvertError), (b"ftrt", ConvertError), (b"{]", ConvertError)],
)
def test_what_is_none_of_these_is_refused(kit, tmp_path, content, error):
    path = tmp_path / "file"
    path.write_bytes(content)

    result = kit("inspect", path)

    assert result.exit_code == error.exit_code, result.output
    assert "Traceback" not in result.output


def test_an_absent_file_is_reported(kit, tmp_path):
    assert kit("inspect", tmp_path / "no").exit_code == SpecError.exit_code


def test_a_graph_cut_short_is_refused(kit, tmp_path):
    path = saved(transformer(), tmp_path / "t.onnx")
    path.write_bytes(path.read_bytes()[:9000])

    assert kit("inspect", path).exit_code == ConvertError.exit_code
