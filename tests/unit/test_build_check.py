"""Mistakes in a project: all have a line, and none waits for a conversion."""

import os
from pathlib import Path

import pytest

from triton_kit.build_project import build, planned_steps
from triton_kit.errors import TritonKitError
from triton_kit.project.load import load_project

PROJECT = """\
name: p
models:
  decode:
    source: decode.py
    inputs: {png: {dtype: string, shape: [1]}}
    outputs: {image: {dtype: fp32, shape: [1, 8, 8]}}
    batching: {max_batch_size: 8}
  digits:
    source: digits.onnx
    inputs: {image: {min: [1, 1, 8, 8], opt: [4, 1, 8, 8], max: [8, 1, 8, 8]}}
    batching:
      max_batch_size: 8
    config:
      dynamic_batching: {}
pipelines:
  read:
    steps:
      - model: decode
        inputs: {png: png}
        outputs: {image: image}
      - model: digits
        inputs: {image: image}
        outputs: {scores: scores}
    outputs: [scores]
"""

# What is written in place of what, the line that is named, a word of the message.
PLANTED = {
    "model of a step": ("model: digits\n", "model: digit\n", 21, "'digits'?"),
    "input of a step": ("inputs: {image: image}", "inputs: {imge: image}", 22, "imge"),
    "output of a step": ("{scores: scores}", "{score: scores}", 23, "'scores'?"),
    "input of a Python step": ("{png: png}", "{pgn: png}", 19, "png"),
    "output of a Python step": ("{image: image}\n", "{img: image}\n", 20, "img"),
    "output of a pipeline": ("    outputs: [scores]", "    outputs: [score]", 24, ""),
    "a called model": (
        "source: decode.py",
        "source: decode.py\n    calls: [read, digit]",
        5,
        "model 'decode' calls 'digit', which is not there",
    ),
    "calls of an ONNX model": (
        "source: digits.onnx",
        "source: digits.onnx\n    calls: [decode]",
        10,
        "calls are for Python models",
    ),
    "an unused tensor": ("{png: png}", "{png: png, x: x}", 19, "no input 'x'"),
    "an unwired input": ("inputs: {image: image}", "inputs: {}", 22, ""),
    "a step twice": ("model: digits\n", "model: decode\n", 22, "image"),
    "a missing source": ("digits.onnx", "digit.onnx", 9, "found nothing"),
    "a missing Python source": ("decode.py", "decod.py", 4, "found nothing"),
    "a missing package": (
        "source: digits",
        "source: no_such_package:digits",
        9,
        "pip install no-such-package",
    ),
    "a file that a package lacks": (
        "source: digits",
        "source: numpy:digits",
        9,
        "the package 'numpy' has no digits.onnx",
    ),
    "an unknown key of a model": ("source: digits", "sorce: digits", 9, "'source'?"),
    "an unknown key of a step": (
        "      - model: decode",
        "      - modl: decode",
        18,
        "",
    ),
    "a rank": ("min: [1, 1, 8, 8]", "min: [1, 8, 8]", 10, "rank"),
    "an order of sizes": ("opt: [4, 1", "opt: [9, 1", 10, "min <= opt"),
    "a data type": ("dtype: string", "dtype: strin", 5, "unknown data type"),
    "a shape": ("shape: [1, 8, 8]", "shape: 8", 6, ""),
    "a batch size": ("      max_batch_size: 8", "      max_batch_size: eight", 12, ""),
    "a field of config": ("dynamic_batching: {}", "dynamic_batchin: {}", 14, "'dyn"),
    "a field inside config": (
        "dynamic_batching: {}",
        "dynamic_batching: {preferred_batch_sizes: [4]}",
        14,
        "'preferred_batch_size'?",
    ),
    "a value inside config": (
        "dynamic_batching: {}",
        "dynamic_batching: {max_queue_delay_microseconds: soon}",
        14,
        "",
    ),
    "a tensor that the model lacks": (
        "inputs: {image: {min",
        "inputs: {imge: {min",
        10,
        "",
    ),
    "a batch beyond the profile": ("max: [8, 1", "max: [4, 1", 12, "max_batch_size"),
}


@pytest.fixture
def planted(digits):
    def plant(old, new):
        assert old in PROJECT
        (digits / "triton-kit.yaml").write_text(PROJECT.replace(old, new, 1))
        return digits

    return plant


@pytest.mark.parametrize("name", PLANTED)
def test_every_mistake_has_its_line(planted, name):
    old, new, line, words = PLANTED[name]
    folder = planted(old, new)

    with pytest.raises(TritonKitError) as caught:
        build(load_project(folder))

    assert f"triton-kit.yaml:{line}:" in caught.value.message
    assert words in str(caught.value)


@pytest.mark.parametrize("name", list(PLANTED)[:21])
def test_a_mistake_is_found_before_any_conversion(planted, name):
    old, new, *_ = PLANTED[name]
    folder = planted(old, new)
    steps = []

    with pytest.raises(TritonKitError):
        build(load_project(folder), on_progress=steps.append)

    assert steps == []


def test_a_dry_run_lists_what_would_be_built(kit, planted):
    folder = planted("name: p", "name: p")

    result = kit("build", folder, "--dry-run")

    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "decode: publish, from decode.py",
        "digits: convert to onnx, from digits.onnx",
        "read: wire decode -> digits",
    ]
    assert not (folder / "model_repository").exists()


def test_a_source_is_a_file_that_a_package_ships(kit, planted, tmp_path, monkeypatch):
    folder = planted("source: digits.onnx", "source: shipped:models/digits.onnx")
    (tmp_path / "packages" / "shipped" / "models").mkdir(parents=True)
    package = tmp_path / "packages" / "shipped"
    (package / "__init__.py").write_text("raise RuntimeError('nothing imports it')")
    (folder / "digits.onnx").rename(package / "models" / "digits.onnx")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))

    result = kit("build", folder, "--only", "digits")

    assert result.exit_code == 0, result.output
    assert list((folder / "model_repository" / "digits" / "1").glob("*.onnx"))


def test_calls_are_in_the_dry_run_and_in_the_config(kit, planted):
    folder = planted("source: decode.py", "source: decode.py\n    calls: [digits]")

    listed = kit("build", folder, "--dry-run").stdout.splitlines()
    kit("build", folder, "--only", "decode")

    config = (folder / "model_repository" / "decode" / "config.pbtxt").read_text()
    assert listed[0] == "decode: publish, from decode.py, calls digits"
    assert "triton_kit.calls" in config
    warned = kit("validate", folder / "model_repository").output
    assert "K31: it calls 'digits', which is not in the repository" in warned


def test_one_model_is_built_alone(kit, digits):
    kit("build", digits)
    with (digits / "decode.py").open("a") as file:
        file.write("# changed\n")

    result = kit("build", digits, "--only", "decode")

    assert result.exit_code == 0, result.output
    assert "decode  version 2  new" in result.output
    assert "digits" not in result.stdout.replace(str(digits), "")


def test_a_pipeline_is_built_alone_from_what_is_published(kit, digits):
    first = kit("build", digits, "--only", "read_digit")
    kit("build", digits)
    second = kit("build", digits, "--only", "read_digit")

    assert first.exit_code == 2
    assert "is not in" in first.output
    assert second.exit_code == 0, second.output


def test_an_unknown_name_to_build_is_refused(kit, digits):
    result = kit("build", digits, "--only", "decod")

    assert result.exit_code == 2
    assert "did you mean 'decode'?" in result.output


def test_a_second_build_converts_nothing_again(kit, digits):
    kit("build", digits)
    cached = sorted(Path(os.environ["TRITON_KIT_CACHE"]).rglob("*.onnx"))

    again = kit("build", digits, "-o", digits / "other")
    fresh = kit("build", digits, "-o", digits / "third", "--no-cache")

    assert cached
    files = [
        (digits / name / "digits" / "1" / "manifest.json").read_bytes()
        for name in ("model_repository", "other", "third")
    ]
    assert again.exit_code == fresh.exit_code == 0
    assert len(set(files)) == 1


def test_a_value_from_the_environment_is_not_in_an_error_of_the_build(tmp_path):
    text = PROJECT.replace("decode.py", "${KEY}")
    (tmp_path / "triton-kit.yaml").write_text(text)
    project = load_project(tmp_path, env={"KEY": "hunter2-hunter2"})

    for act in (
        lambda: build(project, use_cache=False),
        lambda: planned_steps(project),
    ):
        with pytest.raises(TritonKitError) as caught:
            act()

        assert "hunter2" not in f"{caught.value} {caught.value!r}"
        assert "${KEY}" in caught.value.message


@pytest.mark.parametrize("words", [("-vv",), ("--json",), ("--dry-run",)])
def test_a_value_from_the_environment_is_not_printed(kit, digits, monkeypatch, words):
    monkeypatch.setenv("KEY", "hunter2-'hunter2")
    (digits / "digits.onnx").rename(digits / "hunter2-'hunter2.onnx")
    file = digits / "triton-kit.yaml"
    text = file.read_text().replace("digits.onnx", "${KEY}.onnx")
    # The check warns about parameters that the backend does not read.
    file.write_text(
        text.replace("  digits:\n", '  digits:\n    parameters: {"p": "${KEY}"}\n', 1)
    )

    result = kit("build", digits, *words)

    assert result.exit_code == 0, result.output
    assert "hunter2" not in result.output
    if "--dry-run" in words:
        assert "digits: convert to onnx, from ${KEY}.onnx" in result.output
    else:
        assert "building digits from ${KEY}.onnx" in result.output


def test_the_models_to_build_may_come_from_a_generator(digits):
    steps = planned_steps(load_project(digits), only=(n for n in ("decode",)))

    assert [step.partition(":")[0] for step in steps] == ["decode"]


@pytest.mark.parametrize("words", ["--cache", "-o"])
def test_a_file_in_place_of_a_folder_is_refused_before_the_conversion(
    kit, digits, words
):
    for path in (digits / "decode.py", digits / "decode.py" / "deeper"):
        result = kit("build", digits, words, path)

        assert result.exit_code == 2, result.output
        assert f"{digits / 'decode.py'}: expected a folder for the" in result.output
        assert "building" not in result.output


def test_a_user_without_a_home_is_told_what_to_set(kit, digits, monkeypatch):
    for name in ("TRITON_KIT_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)

    result = kit("build", digits)

    assert result.exit_code == 2, result.output
    assert "has no home folder" in result.output
