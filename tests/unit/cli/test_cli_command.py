"""What every command has: common options, old names, environment variables."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from triton_kit.cli import COMMANDS, main
from triton_kit.cli.command import KitCommand, kit_command, kit_option
from triton_kit.cli.exits import run_to_exit_code
from triton_kit.cli.options import (
    FILE_TO_READ,
    FOLDER_TO_READ,
    PATH_TO_READ,
    release_option,
    timeout_option,
)
from triton_kit.cli.output import echo


@kit_command()
@release_option("The Triton release.", default="26.06")
@timeout_option("Give up after this time.", default=60.0)
@kit_option("--load-model", "models", multiple=True, help="A model.")
def sample(release, timeout_s, models):
    """Print the options."""
    echo(f"{release} {timeout_s} {' '.join(models)}")


def run(*words, **env):
    return CliRunner(env=env).invoke(sample, list(words))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_common_options(kit, name):
    command = main.get_command(None, name)

    assert isinstance(command, KitCommand)
    shown = kit(name, "-h")
    assert shown.exit_code == 0
    for option in ("-q, --quiet", "--debug", "--color", "-h, --help"):
        assert option in shown.output
    assert shown.output == kit(name, "--help").output


def test_a_former_name_works_with_a_warning_and_is_not_in_the_help():
    result = run("--server", "25.01", "--deadline=3")

    assert result.stdout == "25.01 3.0 \n"
    assert "--server is now --release" in result.stderr
    assert "--deadline is now --timeout" in result.stderr
    assert "--server" not in run("--help").output


def test_a_word_after_two_dashes_is_no_option():
    assert "is now" not in run("--", "--server").stderr


@pytest.mark.parametrize(
    ("env", "shown"),
    [
        ({"TRITON_KIT_RELEASE": "24.10"}, "24.10 60.0 \n"),
        ({"TRITON_KIT_SAMPLE_RELEASE": "24.10"}, "24.10 60.0 \n"),
        (
            {"TRITON_KIT_SAMPLE_TIMEOUT": "5", "TRITON_KIT_TIMEOUT": "6"},
            "26.06 5.0 \n",
        ),
        ({"TRITON_KIT_LOAD_MODEL": "a b"}, "26.06 60.0 a b\n"),
    ],
)
def test_options_come_from_the_environment(env, shown):
    assert run(**env).stdout == shown


def test_the_command_line_takes_precedence_over_the_environment():
    assert run("--timeout", "1", TRITON_KIT_TIMEOUT="9").stdout == "26.06 1.0 \n"


def test_common_options_may_stand_before_the_command(kit, tmp_path):
    result = kit("--debug", "build", tmp_path)

    assert "Traceback" in result.stderr


@pytest.mark.parametrize(
    ("kind", "path", "words"),
    [
        (PATH_TO_READ, "missing", "missing: no such file or folder"),
        (FILE_TO_READ, "missing", "missing: no such file"),
        (FOLDER_TO_READ, "file", "file: expected a folder, found a file"),
        (FILE_TO_READ, "folder", "folder: expected a file, found a folder"),
        (FILE_TO_READ, "file/below", "file/below: Not a directory"),
        (FILE_TO_READ, "x" * 300, "File name too long"),
        (FILE_TO_READ, "nul\0byte", "embedded null"),
    ],
)
def test_a_named_path_that_cannot_be_read_is_exit_code_2(
    capfd, tmp_path, kind, path, words
):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()

    code = run_to_exit_code(lambda: kind.convert(tmp_path / path, None, None))

    assert code == 2
    shown = capfd.readouterr().err
    assert shown.startswith("Error: ")
    assert words in shown


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_each_shell(kit, shell):
    result = kit("completion", shell)

    assert result.exit_code == 0
    assert "_TRITON_KIT_COMPLETE" in result.stdout


def test_the_completion_script_completes_commands_in_bash(kit, tmp_path):
    script = tmp_path / "completion.bash"
    script.write_text(kit("completion", "bash").stdout)
    ask = (
        f"source {script}\nCOMP_WORDS=(triton-kit val) COMP_CWORD=1\n"
        '_triton_kit_completion triton-kit; echo "${COMPREPLY[@]}"'
    )

    done = subprocess.run(
        ["bash", "--norc", "-c", ask],
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.strip() == "validate"
