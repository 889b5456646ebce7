"""Python models: model.py is parsed, its environment is looked for."""

import pytest

from triton_kit import check_repository

CONFIG = """\
backend: "python"
input [ { name: "a" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "b" data_type: TYPE_FP32 dims: [ 1 ] } ]
"""
MODEL = (
    "class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"
)


@pytest.fixture
def check(tmp_path):
    def run(model=MODEL, config=CONFIG, **files):
        (tmp_path / "m" / "1").mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / "config.pbtxt").write_text(config)
        if model is not None:
            (tmp_path / "m" / "1" / "model.py").write_bytes(
                model if isinstance(model, bytes) else model.encode()
            )
        for name, content in files.items():
            (tmp_path / "m" / name).write_text(content)
        return check_repository(tmp_path)

    return run


def environment(value):
    return (
        f'{CONFIG}parameters {{ key: "EXECUTION_ENV_PATH" '
        f'value {{ string_value: "{value}" }} }}'
    )


def test_a_model_without_its_file_blocks_the_server(check):
    finding = check(None).reason("m")

    assert (finding.rule, finding.blocks_server) == ("Y1", True)
    assert "version 1 has no model.py" in finding.message


@pytest.mark.parametrize(
    ("model", "rule", "words"),
    [
        ("def (:", "Y2", "line 1"),
        ("x = 1\nclass TritonPythonModel\n    pass", "Y2", "line 2"),
        (b"x = '\xff'", "Y2", "not Python"),
        (b"\0", "Y2", "not Python"),
        ("", "Y3", "no class TritonPythonModel"),
        ("class Model:\n    pass", "Y3", "no class TritonPythonModel"),
        ("def f():\n    class TritonPythonModel: pass", "Y3", "no class"),
        ("# TritonPythonModel", "Y3", "no class"),
    ],
)
def test_a_file_that_is_no_model_is_refused(check, model, rule, words):
    finding = check(model).reason("m")

    assert finding.rule == rule
    assert words in finding.message


@pytest.mark.parametrize(
    "model",
    [
        MODEL,
        "from model_code import TritonPythonModel",
        "from model_code import Model as TritonPythonModel",
        "from model_code import *",
        "TritonPythonModel = make()",
        "try:\n    import x\nexcept ImportError:\n    class TritonPythonModel: pass",
        "if True:\n    class TritonPythonModel: pass\nelse:\n    pass",
        "# -*- coding: latin-1 -*-\nclass TritonPythonModel: pass  # é".encode(
            "latin-1"
        ),
    ],
)
def test_every_way_to_define_the_class_counts(check, model):
    assert check(model).errors == ()


def test_a_model_is_never_run(check, tmp_path):
    check(f"open({str(tmp_path / 'run')!r}, 'w')\n{MODEL}")

    assert not (tmp_path / "run").exists()


def test_a_packed_environment_must_be_there(check):
    config = environment("$$TRITON_MODEL_DIRECTORY/venv.tar.gz")

    missing = check(config=config).reason("m")
    there = check(config=config, **{"venv.tar.gz": "x"})

    assert (missing.rule, missing.line) == ("Y4", 4)
    assert "venv.tar.gz is not there" in missing.message
    assert there.errors == ()


@pytest.mark.parametrize(
    ("value", "severity", "words"),
    [
        ("$TRITON_MODEL_DIRECTORY/venv.tar.gz", "error", "two dollar signs"),
        ("${TRITON_MODEL_DIRECTORY}/venv.tar.gz", "error", "two dollar signs"),
        ("/opt/absent/venv.tar.gz", "warning", "not on this machine"),
        ("venv.tar.gz", "error", "not on this machine"),
    ],
)
def test_other_paths_of_an_environment_are_judged(check, value, severity, words):
    findings = {f.rule: f for f in check(config=environment(value)).findings}

    assert findings["Y4"].severity == severity
    assert words in findings["Y4"].message


def test_a_backend_in_python_has_no_model_class(check):
    config = CONFIG.replace("python", "vllm") + 'default_model_filename: "model.json"'

    assert check("{}", config).errors == ()
