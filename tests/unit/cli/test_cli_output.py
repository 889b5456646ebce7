"""Streams, colour, verbosity, and text that others wrote."""

import json
import logging
import os
import pty
import subprocess
import sys

import pytest
from onnx import helper

from onnx_builders import onnx_bytes
from triton_kit.cli import output
from triton_kit.cli.exits import run_to_exit_code
from triton_kit.errors import ServerError

KIT = [sys.executable, "-m", "triton_kit"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\nnext line", "plain\ttext\nnext line"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("back\x08\rover", "back\\x08\\x0dover"),
        ("\x9b31m", "\\x9b31m"),
        ("evil\u202etxt", "evil\\u202etxt"),
        ("log\n::error file=x::forged", "log\n\\x3a:error file=x::forged"),
        ("log\n  ::error::forged", "log\n  \\x3a:error::forged"),
        ("##[error]forged", "\\x23#[error]forged"),
        ("a::b, ::1 stay", "a::b, ::1 stay"),
        (
            "Gruesse \u00fc \u4f60\u597d \U0001f600",
            "Gruesse \u00fc \u4f60\u597d \U0001f600",
        ),
    ],
)
def test_control_characters_are_escaped_and_nothing_else(text, shown):
    assert output.escape_controls(text) == shown


def test_text_of_a_server_in_an_error_is_escaped(capfd):
    def run():
        raise ServerError("refused: \x1b]0;title\x07", hint="see \x1b[31mred")

    assert run_to_exit_code(run) == 5
    assert capfd.readouterr().err == (
        "Error: refused: \\x1b]0;title\\x07\n  hint: see \\x1b[31mred\n"
    )


def test_workflow_commands_of_our_own_are_printed_as_they_are(capfd):
    output.echo_workflow_commands("::error file=a::b%0A\x1b")

    assert capfd.readouterr().out == "::error file=a::b%0A\\x1b\n"


def test_json_is_one_document_whatever_it_holds(capfd):
    output.echo_json({"name": "\x1b[2J\u9b31"})

    shown = capfd.readouterr().out
    assert json.loads(shown) == {"name": "\x1b[2J\u9b31"}
    assert "\x1b" not in shown


def on_a_terminal(words, **env):
    """Run a command with a terminal as standard error; return what it shows."""
    main_end, terminal = pty.openpty()
    subprocess.run(
        [*KIT, *words],
        stderr=terminal,
        stdout=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "TERM": "xterm", **env},
        check=False,
    )
    os.close(terminal)
    shown = b""
    try:
        while part := os.read(main_end, 65536):
            shown += part
    except OSError:  # as a terminal ends on Linux
        pass
    os.close(main_end)
    return shown.decode()


@pytest.mark.parametrize(
    ("words", "env", "coloured"),
    [
        ([], {}, True),
        ([], {"NO_COLOR": "1"}, False),
        ([], {"TERM": "dumb"}, False),
        (["--color", "never"], {}, False),
        (["--color", "always"], {"NO_COLOR": "1"}, True),
        ([], {"TRITON_KIT_COLOR": "never"}, False),
    ],
)
def test_errors_follow_the_wish_for_colour(tmp_path, words, env, coloured):
    shown = on_a_terminal(["build", str(tmp_path), *words], **env)

    assert "Error: " in shown
    assert ("\x1b[31m" in shown) == coloured


def test_color_always_holds_in_a_pipe(kit, tmp_path):
    assert "\x1b[31m" in kit("build", tmp_path, "--color", "always").stderr
    assert "\x1b" not in kit("build", tmp_path).stderr


@pytest.mark.parametrize(
    ("words", "levels"),
    [
        (["-q"], ["error"]),
        ([], ["error", "warning"]),
        (["-v"], ["error", "warning", "info"]),
        (["-vv"], ["error", "warning", "info", "debug"]),
    ],
)
def test_the_log_of_the_library_follows_quiet_and_verbose(capfd, words, levels):
    from triton_kit.cli import main

    logger = logging.getLogger("triton_kit.some.module")

    def run():
        main(["completion", "bash", *words], standalone_mode=False)
        for level in ("debug", "info", "warning", "error"):
            getattr(logger, level)("it happened")
        return 0

    run_to_exit_code(run)

    shown = capfd.readouterr().err.splitlines()
    lines = [
        "it happened" if name == "info" else f"{name}: it happened" for name in levels
    ]
    assert sorted(shown) == sorted(lines)


def test_the_log_is_silent_once_the_command_has_ended(capfd):
    run_to_exit_code(lambda: 0)

    assert logging.getLogger("triton_kit").handlers == []
    assert logging.getLogger("triton_kit").level == logging.NOTSET


def test_parsing_options_outside_of_a_run_leaves_the_log_alone():
    from triton_kit.cli import main

    main.make_context("triton-kit", ["-vv", "completion", "bash"]).close()

    assert logging.getLogger("triton_kit").level == logging.NOTSET


def test_quiet_leaves_the_report_and_drops_notices(kit, tmp_path):
    loud = kit("new", "digits", tmp_path / "a")
    quiet = kit("new", "digits", tmp_path / "b", "-q")

    assert loud.stderr != ""
    assert quiet.exit_code == 0
    assert quiet.stderr == ""


def test_convert_names_its_stages_and_quiet_silences_them(kit, tmp_path):
    model = tmp_path / "m.onnx"
    node = helper.make_node("Relu", ["x"], ["y"])
    model.write_bytes(onnx_bytes({"x": [2, 3]}, {"y": [2, 3]}, nodes=[node]))

    loud = kit("convert", model, "-o", tmp_path / "a")
    quiet = kit("convert", model, "-o", tmp_path / "b", "-q")

    assert loud.stderr.splitlines()[:2] == [f"reading {model}", "preparing the graph"]
    assert quiet.stderr == ""


@pytest.mark.parametrize("word", ["missing.json", "x:missing.npy", "missing"])
def test_perf_checks_that_data_exists_before_it_asks_a_server(kit, word):
    result = kit("perf", "-m", "digits", "--input-data", word)

    assert result.exit_code == 2
    assert "no such file" in result.stderr
