"""What `triton-kit build` publishes beside a model, and what the server fills in."""

import json

import numpy as np
import pytest
from onnx import helper

from onnx_builders import FLOAT, INT32, onnx_bytes
from triton_kit import check_repository
from triton_kit.repository.config.parse import parse

PYTHON = """\
class TritonPythonModel:
    def execute(self, requests):
        return []
"""


@pytest.fixture
def project(tmp_path):
    """Write a project: `project("models: ...", **{"m.py": PYTHON})`."""

    def write(text, files=()):
        (tmp_path / "triton-kit.yaml").write_text(f"name: p\n{text}")
        for name, content in dict(files).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(
                content if isinstance(content, bytes) else content.encode()
            )
        return tmp_path

    return write


def config_of(folder, name):
    path = folder / "model_repository" / name / "config.pbtxt"
    return parse(path.read_text()).config


PY = """\
models:
  py:
    source: {source}
    inputs: {{a: {{dtype: fp32, shape: [4]}}}}
    outputs: {{c: {{dtype: fp32, shape: [3]{labels}}}}}
{more}"""


def python_project(source="m.py", labels="", more=""):
    return PY.format(source=source, labels=labels, more=more)


def test_files_folders_and_globs_go_into_the_version(kit, project):
    folder = project(
        python_project(more="    files: [vocab.txt, assets, 'more/*.json']\n"),
        {
            "m.py": PYTHON,
            "vocab.txt": "a",
            "assets/a/b.bin": "b",
            "assets/__pycache__/x.pyc": "no",
            "more/one.json": "{}",
            "more/two.txt": "no",
        },
    )

    result = kit("build", folder)

    assert result.exit_code == 0, result.output
    version = folder / "model_repository" / "py" / "1"
    said = json.loads((version / "manifest.json").read_text())["files"]
    assert set(said) == {"model.py", "vocab.txt", "assets/a/b.bin", "one.json"}


def test_a_folder_above_and_what_is_below_a_folder_keep_their_names(kit, project):
    folder = project("models: {}\n", {"shared/a.txt": "a", "below/x/y/b.txt": "b"})
    inside = folder / "shared" / "p"
    inside.mkdir()
    (inside / "m.py").write_text(PYTHON)
    more = "    files: [.., '../../below/**']\n".replace("../../below", "deep")
    (inside / "deep").symlink_to(folder / "below")
    (inside / "triton-kit.yaml").write_text(f"name: p\n{python_project(more=more)}")

    result = kit("build", inside, "-o", folder / "out")

    assert result.exit_code == 0, result.output
    version = folder / "out" / "py" / "1"
    assert (version / "shared" / "a.txt").read_text() == "a"
    assert (version / "b.txt").read_text() == "b"
    assert {path.name for path in (folder / "out").iterdir()} == {"py"}


def test_a_changed_file_makes_a_new_version(kit, project):
    folder = project(
        python_project(more="    files: [vocab.txt]\n"),
        {"m.py": PYTHON, "vocab.txt": "a"},
    )
    kit("build", folder)
    (folder / "vocab.txt").write_text("b")

    assert "py  version 2  new" in kit("build", folder).output


def test_a_folder_is_the_source_of_a_python_model(kit, project):
    folder = project(
        python_project("model_code"),
        {
            "model_code/model.py": f"import helper\n{PYTHON}",
            "model_code/helper.py": "x = 1",
            "model_code/tokens/vocab.txt": "a",
        },
    )

    result = kit("build", folder)

    assert result.exit_code == 0, result.output
    version = folder / "model_repository" / "py" / "1"
    assert (version / "helper.py").read_text() == "x = 1"
    assert (version / "tokens" / "vocab.txt").is_file()
    assert config_of(folder, "py").backend == "python"


@pytest.mark.parametrize(
    "text",
    [
        python_project(labels=", labels: data/labels.txt"),
        python_project(
            more="    config: {output: [{name: c, data_type: TYPE_FP32, dims: [3], "
            "label_filename: labels.txt}]}\n"
        ),
    ],
    ids=["labels", "label_filename"],
)
def test_labels_go_beside_the_config(kit, project, text):
    files = {"m.py": PYTHON, "labels.txt": "a\nb\nc\n", "data/labels.txt": "a\nb\nc\n"}
    folder = project(text, files)

    result = kit("build", folder)

    assert result.exit_code == 0, result.output
    assert config_of(folder, "py").output[0].label_filename == "labels.txt"
    repository = folder / "model_repository"
    assert (repository / "py" / "labels.txt").read_text() == "a\nb\nc\n"
    assert check_repository(repository).findings == ()


def test_too_few_labels_are_warned_of_with_the_line(kit, project):
    folder = project(
        python_project(labels=", labels: labels.txt"),
        {"m.py": PYTHON, "labels.txt": "a\n"},
    )

    result = kit("build", folder)

    assert result.exit_code == 0, result.output
    assert "triton-kit.yaml:6: model 'py': labels.txt has 1 labels" in result.stderr


def test_an_environment_goes_along(kit, project):
    folder = project(
        python_project(more="    environment: envs/torch.tar.gz\n"),
        {"m.py": PYTHON, "envs/torch.tar.gz": "packed"},
    )

    result = kit("build", folder)

    assert result.exit_code == 0, result.output
    assert (folder / "model_repository" / "py" / "torch.tar.gz").is_file()
    value = config_of(folder, "py").parameters["EXECUTION_ENV_PATH"].string_value
    assert value == "$$TRITON_MODEL_DIRECTORY/torch.tar.gz"


def test_an_environment_that_the_parameters_name_is_looked_for(kit, project):
    more = (
        "    files: [venv.tar.gz]\n"
        "    parameters: {EXECUTION_ENV_PATH: $$TRITON_MODEL_DIRECTORY/venv.tar.gz}\n"
    )
    folder = project(python_project(more=more), {"m.py": PYTHON, "venv.tar.gz": "x"})

    there = kit("build", folder)
    (folder / "triton-kit.yaml").write_text(
        "name: p\n" + python_project(more=more.partition("\n")[2])
    )
    missing = kit("build", folder, "-o", folder / "other")

    assert there.exit_code == 0, there.output
    assert missing.exit_code == 7
    assert "triton-kit.yaml:7:" in missing.output
    assert "venv.tar.gz is not there (Y4)" in missing.output


@pytest.mark.parametrize(
    ("text", "exit_code", "words"),
    [
        ("numpy\n# a comment\nclick>=8 ; python_version > '3'\n", 0, ""),
        ("--no-index\nno-such-package-here==1\n", 2, "no-such-package-here==1"),
        ("--no-index\nnumpy<1\n", 2, "numpy<1"),
        ("not a requirement at all\n", 2, "requirements.txt:1: not a requirement"),
        (None, 2, "cannot be read"),
    ],
)
def test_requirements_are_checked_for_the_embedded_server(
    kit, project, text, exit_code, words
):
    files = {"m.py": PYTHON} | ({"requirements.txt": text} if text else {})
    folder = project(python_project(more="    requirements: requirements.txt\n"), files)

    result = kit("build", folder)

    assert result.exit_code == exit_code, result.output
    assert words in result.output


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("    files: [absent.txt]\n", "triton-kit.yaml:7: model 'py': files:"),
        ("    files: ['*.none']\n", "'*.none' is not there"),
        (
            "    files: [manifest.json]\n",
            "manifest.json: 'manifest.json' is the name",
        ),
        ("    files: [m.py, sub/m.py]\n", "'m.py' is a file of the model already"),
        ("    environment: absent.tar.gz\n", "triton-kit.yaml:7: model 'py': the env"),
        ("    outputs: {c: {dtype: fp32, shape: [3], labels: no.txt}}\n", "twice"),
    ],
)
def test_files_that_are_not_there_are_refused_with_their_line(
    kit, project, more, words
):
    folder = project(python_project(more=more), {"m.py": PYTHON, "sub/m.py": "x = 1"})
    (folder / "manifest.json").write_text("{}")

    result = kit("build", folder)

    assert result.exit_code == 2, result.output
    assert words in result.output


def test_the_files_of_another_backend_are_published_as_they_are(kit, project):
    text = (
        "targets: {gpu: {triton: '26.06'}}\n"
        "models:\n  llm: {source: llm, backend: vllm, config: {default_model_filename: "
        "model.json}}\n"
    )
    folder = project(text, {"llm/model.json": "{}", "llm/lora/a.json": "{}"})

    result = kit("build", folder)

    assert result.exit_code == 0, result.output
    version = folder / "model_repository" / "llm" / "1"
    assert (version / "lora" / "a.json").is_file()
    assert config_of(folder, "llm").backend == "vllm"


def accumulator(start=INT32):
    nodes = [
        helper.make_node("Cast", ["START"], ["flag"], to=FLOAT),
        helper.make_node("Mul", ["flag", "x"], ["first"]),
        helper.make_node("Add", ["first", "s"], ["sum"]),
        helper.make_node("Identity", ["sum"], ["y"]),
        helper.make_node("Identity", ["sum"], ["t"]),
    ]
    return onnx_bytes(
        {"x": ["b", 1], "START": (start, ["b", 1]), "s": ["b", 1]},
        {"y": ["b", 1], "t": ["b", 1]},
        nodes=nodes,
    )


SEQUENCE = """\
targets:
  {target}
models:
  net:
    source: net.onnx
    batching: {{max_batch_size: 8}}
    sequence:
      controls: {{start: {{input: START, dtype: {dtype}}}}}
      states: [{{input: s, output: t, dtype: fp32, dims: [1], initial: zeros}}]
"""
CONTAINER = "gpu: {triton: '26.06'}"


def test_controls_and_states_are_left_out_of_inputs_and_outputs(kit, project):
    folder = project(
        SEQUENCE.format(target=CONTAINER, dtype="int32"), {"net.onnx": accumulator()}
    )

    result = kit("build", folder)

    assert result.exit_code == 0, result.output
    config = config_of(folder, "net")
    assert [tensor.name for tensor in config.input] == ["x"]
    assert [tensor.name for tensor in config.output] == ["y"]
    report = check_repository(folder / "model_repository", server="26.06", gpus=1)
    assert report.findings == ()


def test_a_control_of_another_type_is_refused_with_its_line(kit, project):
    folder = project(
        SEQUENCE.format(target=CONTAINER, dtype="fp32"), {"net.onnx": accumulator()}
    )

    result = kit("build", folder)

    assert result.exit_code == 7, result.output
    assert "specifies data-type TYPE_FP32" in result.output
    assert "triton-kit.yaml:9:" in result.output


def test_implicit_state_is_refused_where_the_backend_in_python_serves(
    kit, project, monkeypatch
):
    monkeypatch.setattr("triton_kit.serving.onnxruntime_backend._COMPILERS", ())
    text = SEQUENCE.format(target="local: {triton: embedded}", dtype="int32")
    folder = project(text, {"net.onnx": accumulator()})

    result = kit("build", folder)

    assert result.exit_code == 2
    assert "the embedded server has no implicit state" in result.output
    assert "triton-kit build -t gpu" in result.output
    assert not (folder / "model_repository").exists()


def test_optional_inputs_stay_optional_through_pipelines(kit, project):
    text = """\
models:
  py:
    source: m.py
    inputs: {a: {dtype: fp32, shape: [4]}, b: {dtype: fp32, shape: [4], optional: true}}
    outputs: {c: {dtype: fp32, shape: [4]}}
pipelines:
  pipe:
    steps:
      - {model: py, inputs: {a: a, b: b}, outputs: {c: c}}
    outputs: [c]
"""
    folder = project(text, {"m.py": PYTHON})

    result = kit("build", folder)

    assert result.exit_code == 0, result.output
    optional = {t.name: t.optional for t in config_of(folder, "pipe").input}
    assert optional == {"a": False, "b": True}


def test_pipelines_have_options(kit, project):
    text = """\
targets: {gpu: {triton: '26.06'}}
models:
  py:
    source: m.py
    inputs: {a: {dtype: fp32, shape: [4]}}
    outputs: {c: {dtype: fp32, shape: [4]}}
    batching: {max_batch_size: 8}
pipelines:
  pipe:
    steps:
      - {model: py, version: 1, inputs: {a: a}, outputs: {c: c}}
    outputs: [c]
    response_cache: true
    max_inflight_requests: 4
    config: {max_batch_size: 2}
"""
    folder = project(text, {"m.py": PYTHON})

    result = kit("build", folder)

    assert result.exit_code == 0, result.output
    config = config_of(folder, "pipe")
    assert config.max_batch_size == 2
    assert config.response_cache.enable
    assert config.ensemble_scheduling.max_inflight_requests == 4
    assert config.ensemble_scheduling.step[0].model_version == 1


@pytest.mark.parametrize(
    ("backend", "source", "name"),
    [
        ("pytorch", "net.pt", "model.pt"),
        ("openvino", "net.xml", "model.xml"),
        ("mine", "net.bin", "net.bin"),
    ],
)
def test_a_file_has_the_name_that_its_backend_expects(
    kit, project, backend, source, name
):
    text = f"""\
targets: {{gpu: {{triton: '26.06'}}}}
models:
  net:
    source: {source}
    backend: {backend}
    inputs: {{x: {{dtype: fp32, shape: [4]}}}}
    outputs: {{y: {{dtype: fp32, shape: [4]}}}}
"""
    folder = project(text, {source: "the network"})

    result = kit("build", folder)

    if backend == "mine":
        assert "unable to find backend library" in result.output  # no release has it
        return
    assert result.exit_code == 0, result.output
    version = folder / "model_repository" / "net" / "1"
    assert (version / name).read_text() == "the network"


def test_a_manifest_in_the_folder_of_a_model_stays_as_it_is(kit, project):
    folder = project(
        python_project(source="net"),
        {"net/model.py": PYTHON, "net/manifest.json": '{"name": "web"}'},
    )

    refused = kit("build", folder)

    assert refused.exit_code == 2, refused.output
    assert "is the name of the manifest" in refused.output
    assert (folder / "net" / "manifest.json").read_text() == '{"name": "web"}'

    # One of the kit is that of the version which the folder is.
    (folder / "net" / "manifest.json").write_text('{"schema": 1, "files": {}}')
    assert kit("build", folder).exit_code == 0
    assert (folder / "net" / "manifest.json").read_text().endswith("{}}")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("    warmup: [{data: absent.npz}]", "7: {folder}/absent.npz: cannot read it"),
        ("    warmup: [{data: other.npz}]", "7: model 'net': {folder}/other.npz has"),
        ("    outputs: {w: {labels: l.txt}}", "7: model 'net': it has no output 'w'"),
        ("    inputs: {w: {optional: true}}", "7: model 'net': it has no input 'w'"),
        (
            "    inputs: {w: {min: [1], opt: [1], max: [1]}}",
            "7: model 'net': it has no",
        ),
        ("    inputs: {x: {dtype: fp32, shape: [4]}}", "7: model 'net': 'x' declares"),
        (
            "    inputs: {x: {min: [1], opt: [2], max: [4]}}\n"
            "    batching: {max_batch_size: 8}",
            "8: model 'net': max_batch_size is 8, but no profile takes a batch",
        ),
        ("    files: [model.onnx]", "7: model 'net': files: 'model.onnx' is a file of"),
        (
            "    outputs: {y: {labels: config.pbtxt}}",
            "7: model 'net': 'config.pbtxt', beside its versions, is a name that",
        ),
        (
            "    config: {output: [{name: y, data_type: TYPE_FP32, dims: [4], "
            "label_filename: 1/l.txt}]}",
            "7: model 'net': '1/l.txt', beside its versions, is a name that",
        ),
    ],
)
def test_tensors_and_files_are_compared_before_the_conversion(
    kit, project, more, words
):
    folder = project(
        f"models:\n  net:\n    source: net.onnx\n\n\n{more}\n",
        {"l.txt": "a", "config.pbtxt": "a", "model.onnx": "", "1/l.txt": "a"},
    )
    (folder / "net.onnx").write_bytes(onnx_bytes({"x": [4]}, {"y": [4]}))
    np.savez(folder / "other.npz", z=np.zeros(4, np.float32))

    result = kit("build", folder, "--dry-run")

    assert result.exit_code == 2, result.output
    assert f"triton-kit.yaml:{words.format(folder=folder)}" in result.output


def test_a_warm_up_writes_nothing_outside_of_its_model(kit, project):
    folder = project(
        python_project(more="    warmup: [{name: ../../../x, data: a.npz}]\n"),
        {"m.py": PYTHON},
    )
    arrays = {name: np.zeros((1, 4), np.float32) for name in "ab"}
    np.savez(folder / "a.npz", **arrays)

    result = kit("build", folder)

    assert result.exit_code == 2, result.output
    assert "is outside of the model's folder" in result.output
    assert not list(folder.rglob("x.*"))
