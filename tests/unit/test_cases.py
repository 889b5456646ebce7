"""Inputs from real situations, and others of the same kind: what is right for each."""

import shutil
from pathlib import Path

import pytest
import yaml
from onnx import helper

from onnx_builders import BOOL, INT32, INT64, onnx_bytes
from triton_kit import check_repository
from triton_kit.repository.config.parse import parse

CASES = Path(__file__).parent / "cases"
SERVER = {"server": "26.06", "gpus": 1}


def found(path, **options):
    report = check_repository(path, **{**SERVER, **options})
    return report, {finding.rule: finding for finding in report.findings}


# Repository -> the rules that are broken, and words of the first message or its hint.
REPOSITORIES = {
    "c01": (["P7"], "there is a comma too many before `]`"),
    "c05": ([], ""),
    "c09": ([], ""),
    "c12": (["Y4"], "venv.tar.gz is not there"),
    "c14": (["K26"], "did you mean 'trt_build_heuristics_enable'?"),
    "c16": ([], ""),
    "c18": (["P3"], "`#` begins a comment"),
    "c23": (["K16"], "no model_sm90.plan for GPUs of compute capability 9.0"),
    "hang": (["V1"], "make a folder named 1 with the model in it (1/model.py)"),
}


@pytest.mark.parametrize("name", REPOSITORIES)
def test_a_repository_is_judged_right(name):
    rules, words = REPOSITORIES[name]

    report, findings = found(CASES / "repositories" / name)

    assert list(findings) == rules
    assert report.accepted == (name in ("c05", "c09", "c16", "c23"))
    for finding in list(findings.values())[:1]:
        assert words in f"{finding.message} {finding.hint}"


def test_a_link_that_leads_nowhere_beside_a_good_model(tmp_path):
    shutil.copytree(CASES / "repositories" / "dangling-root", tmp_path / "r")
    (tmp_path / "r" / "gone").symlink_to("nowhere")

    report, findings = found(tmp_path / "r")

    assert not report.accepted
    assert "the server cannot list the repository" in findings["F5"].message


def test_a_file_that_the_releases_onnxruntime_does_not_open(tmp_path):
    (tmp_path / "m" / "1").mkdir(parents=True)
    shutil.copy(CASES / "opset23.onnx", tmp_path / "m" / "1" / "model.onnx")

    old, new = (found(tmp_path, server=name)[1] for name in ("24.04", "26.06"))

    assert "opset 23 (it takes up to 20)" in old["M21"].message
    assert new == {}


ENSEMBLE = """\
name: "e"
platform: "ensemble"
input [ { name: "x" data_type: TYPE_FP32 dims: [ 3 ] }INPUT ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 3DIMS ] } ]
ensemble_scheduling { step [ { model_name: "a" model_version: -1
  input_map { key: "x" value: "x" } output_map { key: "y" value: "y" } }STEP ] }
parameters [ { key: "k" value { string_value: "v" } }PARAMETER ]
"""


@pytest.mark.parametrize("place", ["INPUT", "DIMS", "STEP", "PARAMETER"])
def test_a_comma_too_many_is_named_wherever_it_is(tmp_path, place):
    text = ENSEMBLE.replace(place, ",")
    for other in ("INPUT", "DIMS", "STEP", "PARAMETER"):
        text = text.replace(other, "")
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "config.pbtxt").write_text(text)

    _, findings = found(tmp_path)

    (finding,) = findings.values()
    assert finding.hint == "there is a comma too many before `]`"


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("max_batch_size: #batch", 2),
        ('output [ { name: "y" data_type: TYPE_FP32 dims: [ #n, 3 ] } ]', 3),
        ("instance_group [ { count: #n } ]", 2),
        ("version_policy { specific { versions: [ #v ] } }", 2),
    ],
)
def test_a_placeholder_that_begins_a_comment_is_explained(tmp_path, line, number):
    (tmp_path / "m").mkdir()
    text = f'backend: "python"\n{line}\nparameters {{ key: "a" }}\n'
    (tmp_path / "m" / "config.pbtxt").write_text(text)

    _, findings = found(tmp_path)

    (finding,) = findings.values()
    assert "`#` begins a comment" in finding.hint
    assert finding.line in (2, 3)


@pytest.mark.parametrize(
    ("graph", "rule"),
    [
        ({"x": (INT64, ["n"])}, None),
        ({"x": (INT32, ["n"])}, None),
        ({"x": (INT64, ["n", 3])}, "M18"),
        ({"x": (INT64, ["n", "k", 3])}, "M18"),
        ({"x": (INT64, [8])}, "M18"),
        ({"x": (BOOL, ["n"])}, None),
    ],
)
def test_ragged_inputs_of_other_types_and_ranks(tmp_path, graph, rule):
    (kind, _) = graph["x"]
    name = {INT64: "INT64", INT32: "INT32", BOOL: "BOOL"}[kind]
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "model.onnx").write_bytes(
        onnx_bytes({**graph, "i": (INT32, ["k"])}, {"y": ["b", 1]})
    )
    (tmp_path / "m" / "config.pbtxt").write_text(
        f'backend: "onnxruntime" max_batch_size: 4\n'
        f'input [ {{ name: "x" data_type: TYPE_{name} dims: [ -1 ] '
        "allow_ragged_batch: true } ]\n"
        "batch_input [ { kind: BATCH_MAX_ELEMENT_COUNT_AS_SHAPE target_name: "
        '"i" data_type: TYPE_INT32 source_input: "x" } ]\n'
        'output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]\n'
    )

    _, findings = found(tmp_path)

    assert list(findings) == ([rule] if rule else [])


@pytest.mark.parametrize(
    ("value", "is_there"),
    [
        ("$$TRITON_MODEL_DIRECTORY/envs/a.tar.gz", False),
        ("$$TRITON_MODEL_DIRECTORY/there.tar.gz", True),
        ("$$TRITON_MODEL_DIRECTORY/../other/env.tar.gz", False),
    ],
)
def test_an_environment_is_looked_for_where_the_server_does(tmp_path, value, is_there):
    model = tmp_path / "py"
    shutil.copytree(CASES / "repositories" / "c12" / "py", model)
    (model / "there.tar.gz").write_bytes(b"x")
    config = model / "config.pbtxt"
    text = config.read_text().replace("$$TRITON_MODEL_DIRECTORY/venv.tar.gz", value)
    config.write_text(text)

    _, findings = found(tmp_path)

    assert ("Y4" in findings) != is_there


@pytest.mark.parametrize(
    ("kind", "name", "parameter", "rule"),
    [
        ("gpu", "tensorrt", "max_workspace_size_byte", "K26"),
        ("gpu", "tensorrt", "trt_fp16_enable", "K26"),
        ("gpu", "tensorrt", "trt_engine_cache_enable", None),
        ("cpu", "openvin", "", "K13"),
        ("gpu", "auto_mixed_precision", "", "K13"),
    ],
)
def test_accelerators_and_their_parameters(tmp_path, kind, name, parameter, rule):
    (tmp_path / "m" / "1").mkdir(parents=True)
    model = onnx_bytes({"x": ["n", 3]}, {"y": ["n", 3]})
    (tmp_path / "m" / "1" / "model.onnx").write_bytes(model)
    inner = f'parameters {{ key: "{parameter}" value: "1" }}' if parameter else ""
    (tmp_path / "m" / "config.pbtxt").write_text(
        'backend: "onnxruntime" max_batch_size: 4\n'
        'input [ { name: "x" data_type: TYPE_FP32 dims: [ 3 ] } ]\n'
        'output [ { name: "y" data_type: TYPE_FP32 dims: [ 3 ] } ]\n'
        "instance_group [ { kind: KIND_GPU } ]\n"
        f"optimization {{ execution_accelerators {{ {kind}_execution_accelerator "
        f'[ {{ name: "{name}" {inner} }} ] }} }}\n'
    )

    _, findings = found(tmp_path)

    assert list(findings) == ([rule] if rule else [])


@pytest.mark.parametrize("folder", ["1", "3"])
def test_a_python_model_without_its_file_hangs_a_server(tmp_path, folder):
    shutil.copytree(CASES / "repositories" / "hang", tmp_path / "r")
    (tmp_path / "r" / "b_nofile" / folder).mkdir()
    (tmp_path / "r" / "b_nofile" / folder / "mode.py").write_text("x = 1\n")

    report, findings = found(tmp_path / "r")

    assert not report.accepted
    assert findings["Y1"].severity == "error"


@pytest.fixture
def case(tmp_path):
    """Copy a project of the cases: `case("yaml-labels")`."""

    def copy(name):
        folder = tmp_path / name
        shutil.copytree(CASES / "projects" / name, folder)
        return folder

    return copy


def config_of(folder, name):
    path = folder / "model_repository" / name / "config.pbtxt"
    return parse(path.read_text()).config


# Project -> exit code of `build`, and words of its output.
PROJECTS = {
    "yaml-badcfg2": (2, "triton-kit.yaml:7: model 'net': config.dynamic_batching has"),
    "yaml-controls": (0, ""),
    "yaml-dyn0": (0, "K3"),
    "yaml-labels": (0, ""),
    "yaml-optional2": (0, ""),
    "yaml-pipe_config": (0, ""),
    "yaml-pyfiles": (7, "venv.tar.gz is not there (Y4)"),
    "yaml-state_local": (0, ""),
    "yaml-wrongacc": (0, "did you mean 'tensorrt'?"),
}


@pytest.mark.parametrize("name", PROJECTS)
def test_a_project_builds_or_says_why_not(kit, case, name):
    exit_code, words = PROJECTS[name]
    folder = case(name)

    result = kit("build", folder)

    assert result.exit_code == exit_code, result.output
    assert words in result.output
    if exit_code == 0 and name != "yaml-wrongacc":
        report = check_repository(folder / "model_repository", server="26.06", gpus=1)
        assert report.accepted
    if name == "yaml-labels":
        assert (folder / "model_repository" / "net" / "labels.txt").is_file()
        assert config_of(folder, "net").output[0].label_filename == "labels.txt"
    if name == "yaml-optional2":
        inputs = {t.name: t.optional for t in config_of(folder, "pipe").input}
        assert inputs == {"a": False, "b": True}
    if name == "yaml-pipe_config":
        assert config_of(folder, "pipe").max_batch_size == 2


@pytest.mark.parametrize(
    ("name", "model"), [("yaml-controls", "net"), ("controls", "acc")]
)
def test_controls_are_not_asked_of_clients(kit, case, name, model):
    folder = case(name)

    result = kit("build", folder)

    assert result.exit_code == 0, result.output
    config = config_of(folder, model)
    controls = {control.name for control in config.sequence_batching.control_input}
    assert controls
    assert not controls & {tensor.name for tensor in config.input}


def test_several_inputs_without_axis_names_build_to_the_same_bytes(
    kit, case, monkeypatch
):
    folder, digests = case("versions"), set()

    for seed in ("0", "3"):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        kit("build", folder, "-o", folder / seed, "--no-cache")
        digests.add((folder / seed / "m" / "1" / "model.onnx").read_bytes())

    assert len(digests) == 1


@pytest.mark.parametrize("size", [64, 5])
def test_a_plan_takes_the_batches_that_triton_may_send(kit, case, digits, size):
    folder = case("plan_batch")
    shutil.copy(digits / "digits.onnx", folder)
    document = yaml.safe_load((folder / "triton-kit.yaml").read_text())
    document["models"]["digits"]["batching"] = {"max_batch_size": size}
    (folder / "triton-kit.yaml").write_text(yaml.safe_dump(document))

    result = kit("build", folder, "-t", "cluster")

    assert f"--maxShapes=image:{size}x1x8x8" in result.output


@pytest.mark.parametrize("source", ["fraud", "strings"])
def test_what_no_tensorrt_builds_is_refused_before_the_gpu(kit, case, source):
    folder = case("strings_plan")
    nodes = [helper.make_node("Identity", ["s"], ["t"], name="same")]
    string = 8
    (folder / "strings.onnx").write_bytes(
        onnx_bytes({"s": (string, ["n"])}, {"t": (string, ["n"])}, nodes=nodes)
    )
    (folder / "triton-kit.yaml").write_text(
        "name: p\ntargets: {gpu: {triton: '26.06', format: plan}}\n"
        f"models: {{m: {{source: {source}.onnx}}}}\n"
    )

    result = kit("build", folder, "-t", "gpu")

    assert result.exit_code == 3, result.output
    assert "verified and ready" not in result.output
    assert "string" in result.output.lower() or "ai.onnx.ml" in result.output
