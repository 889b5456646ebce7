"""`triton-kit build` on a whole project, and on what people get wrong."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from triton_kit import check_repository, errors
from triton_kit.conversion.onnx.onnx_file import save_onnx


def test_a_second_build_changes_nothing(kit, digits):
    first = kit("build", digits)
    second = kit("build", digits)

    assert first.exit_code == second.exit_code == 0, first.output
    assert first.output.count("version 1  new") == 3
    assert second.output.count("version 1  unchanged") == 3


def test_the_command_that_it_ends_with_may_be_pasted(kit, digits, tmp_path):
    folder = tmp_path / "a repository"

    result = kit("build", digits, "--output", folder)

    assert f"Try: triton-kit serve '{folder}'" in result.output


def test_a_changed_model_gets_the_next_version(kit, digits):
    kit("build", digits)
    with (digits / "decode.py").open("a") as file:
        file.write("# changed\n")

    result = kit("build", digits)

    assert "decode  version 2  new" in result.output
    assert (digits / "model_repository" / "decode" / "1" / "model.py").is_file()


def test_the_repository_goes_where_it_is_asked_to(kit, digits, tmp_path):
    result = kit("build", digits, "--output", tmp_path / "a" / "b")

    assert result.exit_code == 0, result.output
    assert (tmp_path / "a" / "b" / "digits" / "1" / "model.onnx").is_file()
    assert not (digits / "model_repository").exists()


def test_weights_beside_the_graph_are_published_with_it(kit, digits, monkeypatch):
    # Nobody writes 2 GiB in a test: weights go apart from 1000 bytes on.
    replace_text("source: digits.onnx", "source: digits.onnx\n    precision: fp16")(
        digits
    )
    monkeypatch.setitem(save_onnx.__kwdefaults__, "external_over_bytes", 1000)

    result = kit("build", digits)

    assert result.exit_code == 0, result.output
    version = digits / "model_repository" / "digits" / "1"
    said = json.loads((version / "manifest.json").read_text())["files"]
    assert set(said) == {"model.onnx", "model.onnx.data"}
    assert (version / "model.onnx.data").stat().st_size > 1000


def truncate_model(project):
    path = project / "digits.onnx"
    path.write_bytes(path.read_bytes()[:5000])


def replace_text(old, new):
    def change(project):
        path = project / "triton-kit.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (truncate_model, errors.ConvertError, "digits.onnx"),
        (lambda p: (p / "digits.onnx").unlink(), errors.SpecError, "found nothing"),
        (
            lambda p: (p / "decode.py").write_text("def (:"),
            errors.SpecError,
            "is not Python",
        ),
        (
            replace_text("source: digits.onnx", "source: data"),
            errors.SpecError,
            "not a SavedModel",
        ),
        (
            replace_text("source: digits", "source: x/digits"),
            errors.SpecError,
            "not a file",
        ),
        (replace_text("name:", "\tname:"), errors.SpecError, "tab"),
        (replace_text("source:", "sorce:"), errors.SpecError, "mean 'source'?"),
        (
            replace_text("model: digits,", "model: digit,"),
            errors.SpecError,
            "'digits'?",
        ),
        (replace_text("dtype: string", "dtype: strin"), errors.SpecError, "data type"),
        (
            replace_text("dtype: fp32", "dtype: int8"),
            errors.SpecError,
            "inconsistent data type",
        ),
        (
            replace_text("{dtype: string, shape: [1]}", "{}"),
            errors.SpecError,
            "needs dtype and shape",
        ),
        (
            replace_text("max: [64, 1, 8, 8]", "max: [32, 1, 8, 8]"),
            errors.SpecError,
            "begin max with 64, or set max_batch_size: 32",
        ),
        (
            replace_text("min: [1, 1, 8, 8]", "min: [1, 1, 7, 8]"),
            errors.SpecError,
            "do not fit",
        ),
        (
            replace_text(
                "source: digits.onnx", "source: digits.onnx\n    config: {inputt: []}"
            ),
            errors.SpecError,
            "mean 'input'?",
        ),
        (
            replace_text(
                "source: digits.onnx",
                "source: digits.onnx\n    config: {max_batch_size: x}",
            ),
            errors.SpecError,
            "Failed to parse max_batch_size",
        ),
        (
            replace_text(
                "source: decode.py",
                "source: decode.py\n    config: {max_batch_size: x}",
            ),
            errors.SpecError,
            "Failed to parse max_batch_size",
        ),
        (
            replace_text(
                "source: digits.onnx",
                "source: digits.onnx\n    config: {backend: pytorch}",
            ),
            errors.RepositoryError,
            "version 1 has no model.pt",
        ),
    ],
)
def test_bad_input_is_named_and_nothing_is_left(kit, digits, spoil, error, words):
    spoil(digits)
    before = sorted(digits.rglob("*"))

    result = kit("build", digits)

    assert result.exit_code == error.exit_code, result.output
    assert "Error: " in result.output
    assert words in result.output
    assert sorted(digits.rglob("*")) == before


def test_a_file_in_the_repositorys_place_is_refused(kit, digits):
    (digits / "model_repository").write_text("in the way")

    result = kit("build", digits)

    assert result.exit_code == errors.SpecError.exit_code
    assert "found a file" in result.output


def test_no_project_is_reported_with_how_to_start_one(kit, tmp_path):
    result = kit("build", tmp_path / "absent")

    assert result.exit_code == errors.SpecError.exit_code
    assert "triton-kit new digits" in result.output


def test_what_the_server_would_refuse_is_not_published(kit, digits):
    config = "{instance_group: [{kind: KIND_CPU, gpus: [0]}]}"
    replace_text("source: digits.onnx", f"source: digits.onnx\n    config: {config}")(
        digits
    )

    result = kit("build", digits)

    assert result.exit_code == errors.RepositoryError.exit_code
    assert "Triton 24.10 would refuse it" in result.output
    assert "(G3)" in result.output
    assert not (digits / "model_repository").exists()


def linear(path, *, inputs):
    """Write a model with one MatMul: `x` of shape [N, inputs] becomes `y`."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", inputs])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    weights = numpy_helper.from_array(np.ones((inputs, 3), np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    graph = helper.make_graph(nodes, "g", [x], [y], [weights])
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)


@pytest.fixture
def two_versions(kit, tmp_path):
    """A project whose model `m` has two versions; the second takes other shapes."""
    project = tmp_path / "project"
    project.mkdir()
    text = "name: p\nmodels:\n  m: {source: m.onnx, batching: {max_batch_size: 4}}\n"
    (project / "triton-kit.yaml").write_text(text)
    for inputs in (4, 6):
        linear(project / "m.onnx", inputs=inputs)
        result = kit("build", project)
        assert result.exit_code == 0, result.output
    return project


def test_a_version_that_was_published_before_can_be_pinned(kit, two_versions):
    replace_text("source: m", "versions: {specific: [2]}, source: m")(two_versions)

    result = kit("build", two_versions)

    assert result.exit_code == 0, result.output
    assert "m  version 2  new" in result.output
    config = (two_versions / "model_repository" / "m" / "config.pbtxt").read_text()
    assert "specific" in config


def test_a_config_that_does_not_fit_an_older_version_is_refused(kit, two_versions):
    before = (two_versions / "model_repository" / "m" / "config.pbtxt").read_text()
    replace_text("source: m", "versions: {latest: 2}, source: m")(two_versions)

    result = kit("build", two_versions)

    assert result.exit_code == errors.RepositoryError.exit_code
    assert "version 1: 'x' has shape [-1,4] in the model file" in result.output
    assert "leave version 1 out of the version policy" in result.output
    config = (two_versions / "model_repository" / "m" / "config.pbtxt").read_text()
    assert config == before


def test_a_model_file_of_another_name_is_refused(kit, two_versions):
    config = "config: {default_model_filename: foo.onnx}"
    replace_text("source: m", f"{config}, source: m")(two_versions)

    result = kit("build", two_versions)

    assert result.exit_code == errors.RepositoryError.exit_code
    assert "version 2 has no foo.onnx" in result.output


def test_an_output_of_the_batch_axis_alone_can_be_built(kit, tmp_path):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)]
    axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
    graph = helper.make_graph(nodes, "g", [x], [y], [axes])
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    text = "name: p\nmodels:\n  m: {source: m.onnx, batching: {max_batch_size: 4}}\n"
    (tmp_path / "triton-kit.yaml").write_text(text)

    result = kit("build", tmp_path)

    assert result.exit_code == 0, result.output
    config = (tmp_path / "model_repository" / "m" / "config.pbtxt").read_text()
    assert "dims: [ 1 ] reshape { }" in " ".join(config.split())


NESTED = """
  twice:
    steps:
      - {model: read_digit, inputs: {png: png}, outputs: {scores: scores}}
    outputs: [scores]
"""


def test_a_pipeline_may_be_a_step_of_another(kit, digits):
    replace_text("\nloads:", f"{NESTED}\nloads:")(digits)

    result = kit("build", digits)

    assert result.exit_code == 0, result.output
    assert check_repository(digits / "model_repository").accepted


def test_pipelines_in_a_circle_are_refused(kit, digits):
    replace_text("model: decode", "model: twice")(digits)
    replace_text("\nloads:", f"{NESTED}\nloads:")(digits)

    result = kit("build", digits)

    assert result.exit_code == errors.SpecError.exit_code
    assert "steps of each other: read_digit, twice" in result.output
