"""Model files against their configs."""

import os

import onnx
import pytest
from onnx import TensorProto, helper

from triton_kit import check_repository

CONFIG = """\
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 3 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 10 ] } ]
"""


def onnx_bytes(inputs, outputs, kind=TensorProto.FLOAT):
    ends = [
        [
            helper.make_tensor_value_info(name, kind, shape)
            for name, shape in end.items()
        ]
        for end in (inputs, outputs)
    ]
    return helper.make_model(helper.make_graph([], "g", *ends)).SerializeToString()


GOOD = onnx_bytes({"x": ["n", 3]}, {"y": ["n", 10]})


@pytest.fixture
def findings(tmp_path):
    """Check one model: its config, and files below its folder."""

    def check(config=CONFIG, model=GOOD, file="1/model.onnx", **options):
        folder = tmp_path / "m"
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(model)
        if config is not None:
            (folder / "config.pbtxt").write_text(config)
        report = check_repository(tmp_path, **options)
        return {finding.rule: finding for finding in report.findings}

    return check


def test_a_model_that_fits_its_config_has_no_findings(findings):
    assert findings() == {}


@pytest.mark.parametrize(
    ("rule", "config", "said"),
    [
        ("M6", CONFIG.replace('"x"', '"z"'), "the model file has no input 'z'"),
        ("M6", CONFIG.replace('"y"', '"z"'), "the model file has no output 'z'"),
        ("M8", CONFIG.replace("FP32 dims: [ 3", "FP64 dims: [ 3"), "TYPE_FP32 in the"),
        ("M9", CONFIG.replace("[ 3 ]", "[ 4 ]"), "[-1,3] in the model file"),
        ("M9", CONFIG.replace("[ 3 ]", "[ -1, 3 ]"), "[-1,-1,3] here"),
        ("M9", CONFIG.replace("[ 10 ]", "[ -1 ]"), "[-1,10] in the model file"),
        ("M9", CONFIG.replace("size: 8", "size: 0"), "[-1,10] in the model file"),
    ],
)
def test_a_config_that_the_file_contradicts_is_refused(findings, rule, config, said):
    found = findings(config)

    assert found[rule].severity == "error"
    assert said in found[rule].message
    assert found[rule].line in (3, 4)


def test_the_batch_axis_in_dims_is_named_as_such(findings):
    hint = findings(CONFIG.replace("[ 3 ]", "[ -1, 3 ]"))["M9"].hint

    assert hint == "max_batch_size > 0 adds the batch axis: leave it out of dims"


def test_an_input_may_be_narrower_than_the_file_but_an_output_may_not(findings):
    model = onnx_bytes({"x": ["n", "w"]}, {"y": ["n", "w"]})

    found = findings(model=model)

    assert list(found) == ["M9"]
    assert found["M9"].line == 4


def test_a_fixed_first_axis_cannot_be_the_batch(findings):
    found = findings(model=onnx_bytes({"x": [1, 3]}, {"y": ["n", 10]}))

    assert "fixed first axis of 1" in found["M10"].message
    assert "the first dimension must be -1" in found["M10"].server_text


@pytest.mark.parametrize(
    ("inputs", "outputs", "said"),
    [
        ({"x": [1, 3]}, {"y": ["n", 10]}, "'x' has a fixed first axis of 1"),
        ({"x": ["n", 3]}, {"y": []}, "'y' has no axis"),
    ],
)
def test_a_batch_is_not_completed_that_the_file_does_not_have(
    findings, inputs, outputs, said
):
    config = 'backend: "onnxruntime"\nmax_batch_size: 8\n'

    found = findings(config, onnx_bytes(inputs, outputs))

    assert said in found["M10"].message
    assert found["M10"].line == 2
    assert "M10" not in findings('backend: "onnxruntime"', onnx_bytes(inputs, outputs))


def test_a_missing_input_is_named(findings):
    found = findings(model=onnx_bytes({"x": ["n", 3], "w": ["n"]}, {"y": ["n", 10]}))

    assert found["M7"].message == "the config lacks inputs of the model file: w"


@pytest.mark.parametrize(
    ("content", "rule", "severity"),
    [
        (GOOD[:40], "M1", "error"),
        (b"no model at all", "M1", "error"),
        (b"", "M2", "warning"),
        (b"version https://git-lfs.github.com/spec/v1\noid ...", "M2", "warning"),
    ],
)
def test_what_is_no_model_file_is_told_apart(findings, content, rule, severity):
    assert findings(model=content)[rule].severity == severity


def test_without_a_config_the_file_must_tell_it(findings):
    assert findings(config=None) == {}
    assert findings(config=None, model=b"")["R10"].severity == "error"


def test_a_strict_server_completes_nothing(findings):
    found = findings(config=None, strict=True)

    assert "failed to open text file" in found["F3"].server_text


def test_a_plan_tells_its_tensorrt(findings):
    config = CONFIG.replace("onnxruntime", "tensorrt")
    header = b"ftrt" + bytes(20)

    right = findings(config, header + bytes([10, 5, 0, 18]), "1/model.plan", gpus=1)
    wrong = findings(config, header + bytes([10, 9, 0, 34]), "1/model.plan", gpus=1)
    rtx = findings(config, b"vtrt" + bytes(20) + bytes(4), "1/model.plan", gpus=1)
    none = findings(config, b"<html>", "1/model.plan", gpus=1)

    assert right == {}
    assert "10.9.0.34, the server has 10.5.0.18" in wrong["M4"].message
    assert rtx["M3"].severity == "error"
    assert none["M1"].severity == "error"


def test_weights_beside_the_model_must_be_there(findings, tmp_path):
    model = onnx.ModelProto.FromString(GOOD)
    weights = model.graph.initializer.add(name="w", data_location=1)
    weights.external_data.add(key="location", value="w.bin")

    missing = findings(model=model.SerializeToString())
    (tmp_path / "m" / "1" / "w.bin").write_bytes(b"0")

    assert "w.bin, which is not there" in missing["M5"].message
    assert findings(model=model.SerializeToString()) == {}


def test_an_ensemble_reads_the_tensors_of_a_step_from_its_file(findings, tmp_path):
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "1").mkdir()
    (tmp_path / "e" / "config.pbtxt").write_text(
        'platform: "ensemble" max_batch_size: 0 '
        'input { name: "x" data_type: TYPE_FP32 dims: [ -1, 3 ] } '
        'output { name: "y" data_type: TYPE_FP32 dims: [ -1, 10 ] } '
        'ensemble_scheduling { step { model_name: "m" model_version: -1 '
        'input_map { key: "z" value: "x" } output_map { key: "y" value: "y" } } }'
    )

    assert "non-existing input z" in findings(config=None)["E16"].server_text


def test_a_batch_axis_that_the_backend_finds_limits_an_ensemble(findings, tmp_path):
    def ensemble(size):
        (tmp_path / "e" / "1").mkdir(parents=True, exist_ok=True)
        (tmp_path / "e" / "config.pbtxt").write_text(
            f'platform: "ensemble" max_batch_size: {size} '
            'input { name: "x" data_type: TYPE_FP32 dims: [ 3 ] } '
            'output { name: "y" data_type: TYPE_FP32 dims: [ 10 ] } '
            'ensemble_scheduling { step { model_name: "m" model_version: -1 '
            'input_map { key: "x" value: "x" } output_map { key: "y" value: "y" } } }'
        )

    ensemble(4)
    fitting = findings(config=None)
    ensemble(8)
    too_large = findings(config=None)

    assert fitting == {}
    assert "only allows maximum batch size to be 4" in too_large["E21"].server_text


def test_pytorch_models_may_run_in_python(findings):
    config = CONFIG.replace("onnxruntime", "pytorch") + 'runtime: "model.py"'

    assert findings(config, b"x", "1/model.pt") == {}


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_a_model_file_that_is_a_pipe_or_a_device_is_an_error(kind, tmp_path):
    version = tmp_path / "m" / "1"
    version.mkdir(parents=True)
    (tmp_path / "m" / "config.pbtxt").write_text('backend: "onnxruntime"')
    if kind == "fifo":
        os.mkfifo(version / "model.onnx")
    else:
        (version / "model.onnx").symlink_to("/dev/zero")

    [found] = [f for f in check_repository(tmp_path).findings if f.rule == "M1"]

    assert "a pipe or a device" in str(found)
    assert found.severity == "error"


def versions(opset, ir_version, domain=""):
    model = onnx.load_from_string(GOOD)
    model.ir_version = ir_version
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid(domain, opset))
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("server", "opset", "ir_version", "said"),
    [
        ("24.04", 23, 11, "1.17.3 of Triton 24.04: opset 23 (it takes up to 20), IR"),
        ("24.04", 20, 10, "IR version 10 (it takes up to 9)"),
        ("24.04", 20, 9, ""),
        ("24.10", 22, 8, "opset 22 (it takes up to 21)"),
        ("25.03", 22, 10, ""),
        ("26.06", 26, 13, "opset 26 (it takes up to 25)"),
        ("26.07", 26, 13, ""),
        ("embedded", 23, 11, ""),
        ("2.51", 23, 11, ""),
    ],
)
def test_a_file_newer_than_the_releases_onnxruntime(
    findings, server, opset, ir_version, said
):
    found = findings(model=versions(opset, ir_version), server=server)

    assert ("M21" in found) == bool(said)
    if said:
        assert found["M21"].severity == "error"
        assert said in found["M21"].message
        assert "triton-kit convert --release" in found["M21"].hint


def test_operator_sets_of_other_domains_are_not_compared(findings):
    model = versions(99, 8, domain="my.own")

    assert "M21" not in findings(model=model, server="24.04")
