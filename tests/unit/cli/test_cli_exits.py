"""Exit codes and error messages of the command line."""

import os
import subprocess
import sys

import pytest

from triton_kit.cli import main
from triton_kit.cli.exits import EXIT_CODES, run_to_exit_code
from triton_kit.errors import TransportError, TritonKitError

KIT = [sys.executable, "-m", "triton_kit"]


def raising(error):
    def run():
        raise error

    return run


def test_every_error_class_is_in_the_table_of_help(kit):
    shown = kit("--help").output
    codes = {code for code, _ in EXIT_CODES}

    for cls in [TritonKitError, *TritonKitError.__subclasses__()]:
        assert str(cls.exit_code) in codes
    for code, text in EXIT_CODES:
        assert f"  {code} " in shown
        assert text in shown


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (TransportError("no response", hint="look"), 6, ["no response", "hint: look"]),
        (KeyboardInterrupt(), 130, ["interrupted"]),
        (BrokenPipeError(32, "Broken pipe"), 141, []),
        (PermissionError(13, "Permission denied", "x/y"), 2, ["x/y: Permission"]),
        (OSError(28, "No space left on device"), 2, ["No space left on device"]),
        (KeyError("lost"), 70, ["unexpected KeyError: 'lost'", "--debug"]),
        (RecursionError("deep"), 70, ["unexpected RecursionError: deep"]),
        (SystemExit(3), 3, []),
        (SystemExit(None), 0, []),
    ],
)
def test_each_outcome_has_its_exit_code_and_no_traceback(capfd, error, code, words):
    assert run_to_exit_code(raising(error)) == code

    shown = capfd.readouterr()
    assert shown.out == ""
    assert all(word in shown.err for word in words)
    assert "Traceback" not in shown.err
    if not words:
        assert shown.err == ""


def test_debug_shows_the_traceback(kit, tmp_path):
    result = kit("build", tmp_path, "--debug")

    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.stderr
    assert "Error: " in result.stderr


@pytest.mark.parametrize("words", [["--help"], ["completion", "bash"]])
def test_a_full_disk_behind_standard_output_is_an_error(words):
    with open("/dev/full", "w") as full:  # noqa: PTH123  a device
        done = subprocess.run(
            [*KIT, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert done.returncode == 2
    assert done.stderr == ("Error: cannot write the output: No space left on device\n")


@pytest.mark.parametrize("words", [["--help"], ["completion", "bash"]])
def test_a_closed_pipe_ends_silently_with_141(words):
    reader, writer = os.pipe()
    os.close(reader)

    done = subprocess.run(
        [*KIT, *words], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)

    assert done.returncode == 141
    assert done.stderr == ""


def test_usage_errors_name_the_help(kit):
    result = kit("serve", "--nope")

    assert result.exit_code == 2
    assert "Usage: triton-kit serve" in result.stderr
    assert "Try 'triton-kit serve -h' for help." in result.stderr
    assert "Error: No such option" in result.stderr
    assert result.stdout == ""


def test_standalone_mode_off_returns_as_click_does():
    assert main(["completion", "bash"], standalone_mode=False) is None
