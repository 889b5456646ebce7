"""The command line: help, exit codes, and errors without tracebacks."""

import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest

import triton_kit
from triton_kit import errors
from triton_kit.cli import main

ROOT = Path(__file__).parents[2]
HEAVY = (
    "{'torch', 'tensorrt', 'onnx', 'onnxruntime', 'grpc', 'numpy', 'google', 'rich'}"
)


@pytest.mark.parametrize("name", sorted(main.list_commands(None)))
def test_every_command_has_help_and_is_in_the_docs(kit, name):
    result = kit(name, "--help")

    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) > 4
    docs = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    assert any(f"triton-kit {name}" in path.read_text() for path in docs)


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from triton_kit.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        f"sys.exit(str({HEAVY} & set(sys.modules) or ''))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert done.stderr == "\n"


def test_an_unknown_command_gets_the_nearest_name(kit):
    result = kit("biuld")

    assert result.exit_code == 2
    assert "Did you mean 'build'?" in result.output


def test_a_library_error_becomes_message_hint_and_exit_code(kit, tmp_path):
    result = kit("build", tmp_path)

    assert result.exit_code == errors.SpecError.exit_code
    assert result.output.startswith("Error: ")
    assert "hint: " in result.output


def test_every_error_class_has_its_own_documented_exit_code():
    classes = [errors.TritonKitError, *errors.TritonKitError.__subclasses__()]
    codes = [cls.exit_code for cls in classes]

    assert len(set(codes)) == len(codes)
    for cls in classes:
        assert any(
            cls.__name__ in line and f" {cls.exit_code} " in line
            for line in errors.__doc__.splitlines()
        ), cls


def test_the_module_runs_as_the_command_does():
    done = subprocess.run(
        [sys.executable, "-m", "triton_kit", "--version"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0
    assert done.stdout.startswith("triton-kit, version ")


def test_an_old_python_is_reported_without_a_syntax_error():
    source = (ROOT / "triton_kit" / "__main__.py").read_text()
    old = "import sys\nsys.version_info = (3, 8, 0, 'final', 0)\n"

    done = subprocess.run(
        [sys.executable, "-c", old + source],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("Error: triton-kit needs Python 3.11")


def test_public_names_are_listed_and_there():
    assert sorted(triton_kit.__all__) == sorted([*triton_kit._PUBLIC, "__version__"])
    assert dir(triton_kit) == sorted(triton_kit.__all__)
    for name in triton_kit.__all__:
        assert getattr(triton_kit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = triton_kit.nope


def test_pyproject_has_the_build_system_and_tools_only():
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert set(tables) == {"build-system", "tool"}


def test_every_dependency_is_explained():
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg")
    wanted = {
        line.split()[0].partition("[")[0]
        for line in parser["options"]["install_requires"].strip().splitlines()
    }
    explained = (ROOT / "docs" / "architecture.md").read_text()

    assert not [name for name in wanted if f"`{name}`" not in explained]


def test_new_writes_a_project_and_refuses_to_write_over_one(kit, tmp_path):
    assert kit("new", "digits", tmp_path / "p").exit_code == 0
    again = kit("new", "digits", tmp_path / "p")

    assert (tmp_path / "p" / "triton-kit.yaml").is_file()
    assert again.exit_code == 2
    assert "is there already" in again.output


def test_new_names_the_nearest_recipe(kit, tmp_path):
    result = kit("new", "digit", tmp_path / "p")

    assert result.exit_code == 2
    assert "did you mean 'digits'?" in result.output
    assert not (tmp_path / "p").exists()


def test_inspect_of_a_folder_says_that_it_reads_files(kit, tmp_path):
    result = kit("inspect", tmp_path)

    assert result.exit_code == errors.SpecError.exit_code
    assert "expected a file, found a folder" in result.output
