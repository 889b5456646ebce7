"""Every command and option: help that stands alone, one name for one thing, streams."""

import json
import re
import shlex
import shutil
from pathlib import Path

import click
import pytest

from triton_kit.cli import COMMANDS, main
from triton_kit.cli.command import KitOption

ROOT = Path(__file__).parents[3]
REPOSITORY = ROOT / "model_repository"
# What click writes for a value that nobody described.
UNDESCRIBED = {"INTEGER", "FLOAT", "TEXT", "INTEGER RANGE", "FLOAT RANGE", "UUID"}
# Option -> what it has in every command: names, whether it is a flag, metavar.
TABLE = {
    "output": (["-o", "--output"], False, None),
    "json": (["--json"], True, None),
    "seed": (["--seed"], False, "N"),
    "timeout": (["--timeout"], False, "SECONDS"),
    "release": (["--release"], False, None),
    "dry-run": (["--dry-run"], True, None),
    "gpus": (["--gpus"], False, None),
    "cache": (["--cache"], False, None),
}
# Names that one of the table replaced.
REPLACED = {"--deadline", "--shapes", "--profiles", "--ready-within"}


def options():
    for name in COMMANDS:
        command = main.get_command(None, name)
        for param in command.params:
            if isinstance(param, click.Option) and not param.hidden:
                yield pytest.param(name, param, id=f"{name} {max(param.opts, key=len)}")


ALL = list(options())


@pytest.mark.parametrize(("name", "option"), ALL)
def test_the_help_of_an_option_stands_alone(name, option):
    context = click.Context(main.get_command(None, name), show_default=True)
    left, right = option.get_help_record(context)

    assert option.help, left
    assert not option.help.startswith(("Its ", "It ", "Of ", "Or ")), option.help
    assert option.help.rstrip().endswith((".", "]")), option.help
    if not option.is_flag and not option.count:
        shown = option.metavar or option.make_metavar(context)
        assert option.metavar or shown not in UNDESCRIBED, left
    if isinstance(option.default, int | float) and not option.is_flag:
        assert str(option.default).removesuffix(".0") in right or option.count, right


@pytest.mark.parametrize(("name", "option"), ALL)
def test_one_name_means_one_thing(name, option):
    long = max(option.opts, key=len).removeprefix("--")

    assert not REPLACED & {*option.opts, *option.secondary_opts}
    if long in TABLE:
        names, is_flag, metavar = TABLE[long]
        assert option.opts == names
        # perf's --json takes a FILE as well; alone it is the flag of all commands.
        assert option.is_flag == is_flag or option.flag_value == "-"
        if metavar:
            assert option.metavar == metavar
    elif isinstance(option.type, click.types.FloatParamType) and "timeout" in long:
        assert option.metavar == "SECONDS"


@pytest.mark.parametrize(("name", "option"), ALL)
def test_values_with_a_unit_name_it(name, option):
    unit = {"_s": "SECONDS", "_ms": "MS", "_us": "US", "_bytes": "BYTES"}
    for ending, metavar in unit.items():
        if option.name.endswith(ending) and not option.is_flag:
            assert option.metavar in (metavar, "S"), option.opts


@pytest.mark.parametrize("name", COMMANDS)
def test_the_first_line_of_help_is_a_sentence(name):
    command = main.get_command(None, name)
    first = command.help.split("\n\n")[0].replace("\n", " ")

    assert re.match(r"[A-Z][a-z]+,? .*\.$", first), first
    assert not COMMANDS[name].startswith(("Say ", "Tell ")), COMMANDS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_of_the_help_are_commands_with_known_options(name):
    for example in main.get_command(None, name).examples:
        words = shlex.split(example.replace("$(", "").replace(")", ""), comments=True)
        words = shlex.split(" ".join(words))
        start = words.index("triton-kit")
        command = main.get_command(None, words[start + 1])
        known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        used = {w.partition("=")[0] for w in words[start + 2 :] if w.startswith("--")}
        assert used <= known, example


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_option_is_exit_code_2_and_writes_to_standard_error(kit, name):
    result = kit(name, "--no-such-option")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert "--no-such-option" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["build", "MISSING"],
        ["convert", "MISSING.onnx", "-o", "out"],
        ["inspect", "MISSING.onnx"],
        ["validate", "MISSING"],
        ["format", "MISSING"],
        ["diff", "MISSING", "MISSING"],
        ["generate", "MISSING.onnx"],
        ["publish", "MISSING.onnx", "models"],
        ["promote", "m", "MISSING", "models"],
        ["verify", "MISSING"],
        ["graph", "MISSING"],
        ["serve", "MISSING"],
        ["perf", "-m", "x", "--request-intervals", "MISSING"],
    ],
    ids=lambda words: words[0],
)
def test_a_named_path_that_is_missing_is_exit_code_2(kit, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)

    result = kit(*words)

    assert result.exit_code == 2, result.output
    assert "MISSING" in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project") / "digits"
    shutil.copytree(ROOT / "templates" / "projects" / "digits", folder)
    return folder


@pytest.mark.parametrize(
    ("words", "codes"),
    [
        (["doctor"], [0]),
        (["inspect", "{project}/digits.onnx"], [0]),
        (["build", "{project}"], [0]),
        (["validate", "{repository}"], [0, 1]),
        (["diff", "{repository}", "{repository}"], [0]),
        (["diff", "{repository}/digits", "{repository}/decode"], [1]),
        (["convert", "{project}/digits.onnx", "-o", "{project}/out"], [0]),
    ],
    ids=lambda words: words[0] if isinstance(words[0], str) else "",
)
def test_json_is_one_document_on_standard_output(kit, project, words, codes):
    places = {"project": project, "repository": REPOSITORY}
    result = kit(*(word.format(**places) for word in words), "--json")

    assert result.exit_code in codes, result.output
    json.loads(result.stdout)


def test_every_option_accepts_its_former_names(kit):
    for name in COMMANDS:
        command = main.get_command(None, name)
        shown = kit(name, "--help").output
        for param in command.params:
            for old in getattr(param, "former", ()):
                assert isinstance(param, KitOption)
                assert not re.search(rf"(^|\s){re.escape(old)}\b", shown), old
