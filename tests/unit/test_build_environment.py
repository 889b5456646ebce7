"""What a Python model imports goes along: packed by pip, for the target's Python."""

import json
import os
import sys
import tarfile
import zipfile
from dataclasses import replace

import pytest

from triton_kit import python_requirements
from triton_kit.python_environment import this_python
from triton_kit.repository.config.parse import parse
from triton_kit.requirements_file import missing_packages
from triton_kit.triton.releases import find_release
from wheels import write_wheel

PROJECT = """\
name: p
targets:
  old: {triton: "24.10"}
  new: {triton: "26.06"}
  local: {triton: embedded}
models:
  py:
    source: m.py
    inputs: {a: {dtype: fp32, shape: [4]}}
    outputs: {c: {dtype: fp32, shape: [3]}}
    MORE
"""
MODEL = """\
import tiny
class TritonPythonModel:
    def execute(self, requests):
        return []
"""


@pytest.fixture
def project(tmp_path):
    """Write a project whose model needs what stands in requirements.txt."""
    (tmp_path / "m.py").write_text(MODEL)
    write_wheel(tmp_path / "wheels", "tiny", "1.5", "VALUE = 15\n")

    def write(*requirements, more="requirements: requirements.txt"):
        lines = ["--no-index", "--find-links wheels", *requirements]
        (tmp_path / "requirements.txt").write_text("\n".join(lines))
        (tmp_path / "triton-kit.yaml").write_text(PROJECT.replace("MORE", more))
        return tmp_path

    return write


def packed(folder, repository="model_repository"):
    with tarfile.open(folder / repository / "py" / "environment.tar.gz") as tar:
        return {info.name: info for info in tar.getmembers()}


def test_requirements_are_packed_for_the_python_of_the_release(kit, project, tmp_path):
    wheels = tmp_path / "wheels"
    write_wheel(wheels, "older", "1", "x = 1\n")
    write_wheel(wheels, "newer", "1", "x = 1\n")
    markers = 'older; python_version < "3.11"', 'newer; python_version > "3.11"'
    write_wheel(wheels, "outer", "2", "x = 1\n", requires=markers)
    folder = project("outer", 'tiny; python_version < "3.11"')
    wanted = {
        "old": ("3.10", ["older-1", "outer-2", "tiny-1.5"]),
        "new": ("3.12", ["newer-1", "outer-2"]),
    }

    for target, (python, packages) in wanted.items():
        result = kit("build", folder, "-t", target, "-o", folder / target)

        assert result.exit_code == 0, result.output
        assert f"requirements.txt: packed for Python {python}" in result.output
        config = parse((folder / target / "py" / "config.pbtxt").read_text()).config
        value = config.parameters["EXECUTION_ENV_PATH"].string_value
        assert value == "$$TRITON_MODEL_DIRECTORY/environment.tar.gz"
        assert f"lib/python{python}/site-packages/outer.py" in packed(folder, target)
        facts = json.loads((folder / target / "py/1/manifest.json").read_text())
        assert facts["environment"] == {"python": python, "packages": packages}


def test_the_same_wheels_give_the_same_bytes(kit, project, tmp_path, monkeypatch):
    folder = project("tiny")
    digests = set()

    for number, seed in enumerate(("0", "7")):
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        output = folder / f"out{number}"
        kit("build", folder, "-t", "new", "-o", output, "--no-cache")
        digests.add((output / "py" / "environment.tar.gz").read_bytes())

    assert len(digests) == 1
    names = packed(folder, "out0")
    assert not [name for name in names if "/bin/" in name or "direct_url" in name]
    assert {info.mtime for info in names.values()} == {315532800}


def test_a_second_build_does_not_ask_pip_again(kit, project, monkeypatch):
    folder = project("tiny")
    kit("build", folder, "-t", "new")
    monkeypatch.setenv("PIP_REQUIRE_HASHES", "1")  # pip refuses from now on

    again = kit("build", folder, "-t", "new")
    fresh = kit("build", folder, "-t", "new", "--no-cache")
    write_wheel(folder / "wheels", "tiny", "1.6", "VALUE = 16\n")
    other = kit("build", folder, "-t", "new")

    assert "py  version 1  unchanged" in again.output
    assert fresh.exit_code == other.exit_code == 2


def test_wheels_of_another_python_are_not_taken(kit, project, tmp_path):
    write_wheel(tmp_path / "wheels", "only", "1", "x = 1\n", tag="cp310-cp310-linux_x")
    folder = project("only")

    result = kit("build", folder, "-t", "new")

    assert result.exit_code == 2
    assert "triton-kit.yaml:11: model 'py': pip cannot get what" in result.output
    assert "wheels for Python 3.12: Could not find a version that satisfies the" in (
        result.output
    )
    assert "--find-links wheels" in result.output
    assert not (folder / "model_repository").exists()


@pytest.mark.parametrize(
    ("more", "target", "words"),
    [
        ("python: nowhere/python", "local", "11: model 'py': the interpreter nowhere"),
        ("python: ~no-such-user/bin/python", "local", "interpreter ~no-such-user/bin"),
        (f"python: {sys.executable}", "new", "the container has a Python of its own"),
        ("python: m.py", "local", "the interpreter"),
        ("python: /bin/false", "local", "/bin/false: exit code 1"),
        ("python: p, environment: e", "local", "environment and python both set"),
        ("python: p, requirements: r", "local", "packages of its own"),
        ("environment: e, requirements: r", "new", "environment has packages of its"),
    ],
)
def test_an_interpreter_that_cannot_serve_is_refused(kit, project, more, target, words):
    folder = project(more="\n    ".join(more.split(", ")))

    result = kit("build", folder, "-t", target)

    assert result.exit_code == 2, result.output
    assert "triton-kit.yaml:" in result.output
    assert words in result.output


@pytest.mark.parametrize(
    ("lines", "missing"),
    [
        (["numpy<2 \\", "    --hash=sha256:00", "# click"], []),
        (
            ["./wheels/tiny-1.5-py3-none-any.whl"],
            ["./wheels/tiny-1.5-py3-none-any.whl"],
        ),
        (["https://a.b/c-1-py3-none-any.whl"], ["https://a.b/c-1-py3-none-any.whl"]),
        (["numpy<2 \\", "  ,>1 \\", "  --hash=sha256:00", "click"], []),
        (["-r other.txt", "-c limits.txt"], ["absent-other"]),
        (["-rother.txt # why"], ["absent-other"]),
        (["-e ./wheels", "--editable=."], ["-e ./wheels", "--editable=."]),
        (
            [
                "-r https://a.b/other.txt",
                "--no-index",
                "absent-package[x]>=1 ; python_version > '3'",
            ],
            ['absent-package[x]>=1; python_version > "3"'],
        ),
        (["absent-package ; python_version < '3'"], []),
    ],
)
def test_lines_are_read_as_pip_reads_them(tmp_path, lines, missing):
    path = tmp_path / "requirements.txt"
    path.write_text("\n".join(lines))
    (tmp_path / "other.txt").write_text("-r requirements.txt\nnumpy\nabsent-other\n")
    (tmp_path / "limits.txt").write_text("absent-limit<2\n")

    assert missing_packages(path) == missing


def test_an_extra_is_missing_if_a_package_that_it_needs_is(tmp_path, monkeypatch):
    more = 'absent-package>1; extra == "more"', 'tiny[more]; extra == "all"'
    wheel = write_wheel(tmp_path / "wheels", "tiny", "1.5", "x = 1", requires=more)
    monkeypatch.syspath_prepend(str(wheel))
    path = tmp_path / "requirements.txt"

    for line, missing in {
        "tiny": [],
        "tiny[other]": [],
        "tiny[more]>1": ["tiny[more]>1"],
        "tiny[all]": ["tiny[all]"],
    }.items():
        path.write_text(line)
        assert missing_packages(path) == missing


def test_a_line_of_a_nested_file_is_named_with_that_file(kit, project):
    folder = project("-r more/base.txt")
    (folder / "more").mkdir()
    (folder / "more" / "base.txt").write_text("numpy\nno requirement\n")

    result = kit("build", folder, "-t", "local", "--dry-run")

    assert "more/base.txt:2: not a requirement: 'no requirement'" in result.output


def test_requirements_of_a_nested_file_are_packed_for_the_embedded_server(kit, project):
    folder = project("-r base.txt")
    (folder / "base.txt").write_text("tiny\n")

    result = kit("build", folder, "-t", "local")

    assert "requirements.txt: packed for Python" in result.output, result.output
    assert "tiny-1.5" in result.output


def test_a_container_of_the_same_python_has_an_environment_of_its_own(
    project, tmp_path, monkeypatch
):
    monkeypatch.setitem(python_requirements._GLIBC, this_python(), 39)
    requirements = project("tiny") / "requirements.txt"
    container = replace(find_release("26.06"), python=this_python())

    for release in (container, None, None):
        python_requirements.pack_requirements(
            requirements, tmp_path, release=release, cache=tmp_path / "cache"
        )

    assert len(list((tmp_path / "cache" / "environments").iterdir())) == 2


def test_a_wheel_that_a_line_names_is_packed_again_when_it_changed(kit, project):
    folder = project("./wheels/tiny-1.5-py3-none-any.whl")
    kit("build", folder, "-t", "new")
    write_wheel(folder / "wheels", "tiny", "1.5", "VALUE = 'rebuilt'\n")

    result = kit("build", folder, "-t", "new")

    assert result.exit_code == 0, result.output
    assert "py  version 1  new" in result.output
    path = "lib/python3.12/site-packages/tiny.py"
    with tarfile.open(folder / "model_repository/py/environment.tar.gz") as tar:
        assert b"rebuilt" in tar.extractfile(path).read()


def test_paths_start_at_the_folder_of_the_file_wherever_the_build_runs(
    kit, project, tmp_path_factory, monkeypatch
):
    folder = project("./wheels/tiny-1.5-py3-none-any.whl")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))

    result = kit("build", os.path.relpath(folder), "-t", "new")

    assert result.exit_code == 0, result.output
    assert "tiny-1.5" in result.output


def test_programs_inside_packages_stay_executable(kit, project):
    folder = project("tiny")
    wheel = next((folder / "wheels").iterdir())
    program = zipfile.ZipInfo("tiny_data/run.sh")
    program.external_attr = 0o100755 << 16
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(program, "#!/bin/sh\n")

    kit("build", folder, "-t", "new")

    inside = "lib/python3.12/site-packages"
    modes = {name: info.mode for name, info in packed(folder).items()}
    assert modes[f"{inside}/tiny_data/run.sh"] == 0o755
    assert modes[f"{inside}/tiny.py"] == 0o644


def test_a_cache_that_is_a_file_is_refused(kit, project, tmp_path):
    folder = project("tiny")
    (tmp_path / "cache").write_text("")

    result = kit("build", folder, "-t", "new", "--cache", tmp_path / "cache")

    assert result.exit_code == 2, result.output
    assert "cache: expected a folder for the cache, found a file" in result.output
    assert "hint: name another folder" in result.output


@pytest.mark.parametrize("key", ["environment", "requirements", "python"])
def test_an_environment_of_a_converted_model_is_refused(kit, digits, key):
    path = digits / "triton-kit.yaml"
    text = path.read_text()
    path.write_text(
        text.replace("source: digits.onnx", f"source: digits.onnx\n    {key}: x", 1)
    )

    result = kit("build", digits)

    assert result.exit_code == 2, result.output
    assert f"{key}: digits.onnx is no Python model" in result.output
    assert "triton-kit.yaml:" in result.output
