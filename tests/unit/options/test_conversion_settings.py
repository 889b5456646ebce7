"""Every setting of a conversion: flag, YAML field, script and reference agree."""

import os
import shlex
from dataclasses import MISSING, replace
from pathlib import Path

import pytest
import yaml

from triton_kit.cli.setting_options import values_of
from triton_kit.conversion.spec import ConvertSpec, spec_in_folder
from triton_kit.errors import SpecError
from triton_kit.options.conversion import Calibration, ConversionSettings, Gate
from triton_kit.options.setting import (
    nested,
    reference_table,
    settings_of,
    words_of,
)
from triton_kit.options.shapes import ShapeRange
from triton_kit.project.conversion import ConversionSpec, conversion_settings

SETTINGS = settings_of(ConversionSettings)
BY_NAME = {item.name: item for item in SETTINGS}
DOCS = Path(__file__).parents[3] / "docs" / "convert.md"
# One value that is not the default, by setting.
OTHERS = {
    "format": "plan",
    "precision": "int8",
    "rest": "bf16",
    "symmetric": False,
    "keep_fp32": ("Conv", "node 2"),
    "bisect": True,
    "sparsity": "2:4",
    "profiles": (
        {"x:0": ShapeRange(min=(1, 8), opt=(4, 8), max=(9, 8))},
        {"x:0": ShapeRange(min=(16, 8), opt=(16, 8), max=(16, 8))},
    ),
    "max_batch_size": 64,
    "passes": ("mine:first", "mine:second"),
    "simplify": False,
    "opset": 17,
    "free_batch": True,
    "custom_ops": (Path("/data/a.so"), Path("/data/b.so")),
    "calibration.data": Path("/data/c.npz"),
    "calibration.method": "percentile",
    "calibration.percentile": 99.5,
    "calibration.quantizer": "modelopt",
    "verify_data": Path("/data/v.npz"),
    "gate.min_snr_db": 12.5,
    "gate.min_top1_agreement": 0.9,
    "gate.min_cosine": -0.5,
    "gate.max_abs_error": 0.25,
    "gate.task": "detection",
    "gate.function": "mine:compare",
    "gate.min_agreement": 0.8,
    "ranges": {"sr:0": (16000.0, 16000.0), "x": (-1.5, 2.0)},
    "seed": 7,
    "options": {"workspace": "2G", "refit": "true"},
    "release": "26.06",
    "device": "gpu",
    "dry_run": True,
    "cache": Path("/cache"),
    "timeout_s": 30.0,
}


@pytest.fixture(autouse=True)
def a_folder_with_the_source(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("m.onnx").touch()


@pytest.fixture(autouse=True)
def no_settings_from_the_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("TRITON_KIT_")]:
        monkeypatch.delenv(name)


def full_spec(**fields):
    given = nested(ConvertSpec, OTHERS) | fields
    return ConvertSpec(source=Path("m.onnx"), output=Path("out/model.plan"), **given)


def parsed(words):
    """Return the spec that `triton-kit convert` makes from words."""
    from triton_kit.cli.convert import command

    context = command.make_context("convert", ["m.onnx", "-o", "out", *words])
    given = {k: v for k, v in context.params.items() if k not in ("source", "output")}
    return spec_in_folder("m.onnx", Path("out"), values_of(SETTINGS, given))


def test_every_setting_has_an_example_here():
    assert set(OTHERS) == set(BY_NAME)
    assert all(OTHERS[name] != item.default for name, item in BY_NAME.items())


@pytest.mark.parametrize("item", SETTINGS, ids=lambda item: item.name)
def test_a_setting_survives_the_command_line(item):
    spec = full_spec()

    assert item.value_in(parsed(words_of(spec))) == OTHERS[item.name]


def test_the_defaults_of_flags_are_those_of_the_spec():
    plain = ConvertSpec(source="m:f", output=Path("out/model.onnx"))

    assert parsed([]) == replace(plain, source=Path("m.onnx"))


@pytest.mark.parametrize(
    "item", [i for i in SETTINGS if i.option.key], ids=lambda item: item.name
)
def test_a_setting_survives_yaml(item):
    value = OTHERS[item.name]
    if isinstance(value, Path):
        value = value.name
    text = yaml.safe_dump({item.option.key.split(".")[-1]: plain(value)})
    document = yaml.safe_load(text)
    for part in reversed(item.option.key.split(".")[:-1]):
        document = {part: document | needed(part, item)}

    found = conversion_settings(ConversionSpec(**document), Path("/data"))

    assert found[item.name] == OTHERS[item.name]


def plain(value):
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return [one.name if isinstance(one, Path) else one for one in value]
    return value


def needed(part, item):
    required = [s for s in SETTINGS if (s.option.key or "").startswith(f"{part}.")]
    return {
        s.option.key.split(".")[1]: "c.npz"
        for s in required
        if s.default is MISSING and s is not item
    }


def test_yaml_has_no_setting_that_is_not_declared():
    keys = {item.option.key.split(".")[0] for item in SETTINGS if item.option.key}

    assert set(ConversionSpec.model_fields) == keys | {"profiles"}


@pytest.mark.parametrize("item", SETTINGS, ids=lambda item: item.name)
def test_help_says_what_a_setting_is(item):
    text = item.option.help

    assert text[0].isupper() or text.startswith("int8")
    assert text.endswith(".")
    assert item.type is bool or item.choices or item.option.metavar
    assert (
        item.option.key
        or item.option.place
        or item.option.group == "Run"
        or (item.name == "seed")
    )


@pytest.mark.parametrize("former", ["--format plan", "--deadline 5", "--shapes x:1"])
def test_former_flags_work_and_are_not_shown(kit, former):
    flag, value = former.split()

    shown = kit("convert", "--help").output

    assert f"{flag} " not in shown
    assert parsed([flag, value]) != parsed([])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("calibration.percentile", 50, "above 50, up to 100"),
        ("gate.min_top1_agreement", 99, "0.99 is 99 %"),
        ("gate.min_cosine", float("nan"), "from -1 to 1"),
        ("gate.max_abs_error", 0, "above 0"),
        ("opset", 0, "at least 1"),
        ("timeout_s", -1, "above 0"),
        ("seed", -1, "at least 0"),
        ("precision", "fp12", "did you mean"),
        ("ranges", {"x": (2.0, 1.0)}, "the lower first"),
    ],
)
def test_values_out_of_bounds_are_refused_everywhere(name, value, words):
    with pytest.raises(SpecError) as caught:
        ConvertSpec(
            source=Path("m.onnx"),
            output=Path("o/model.plan"),
            **nested(ConvertSpec, OTHERS | {name: value}),
        )

    assert words in f"{caught.value.message} {caught.value.hint}"


def test_calibration_without_samples_is_none():
    given = nested(ConvertSpec, {"calibration.data": None, "calibration.method": "x"})

    assert "calibration" not in given


def test_the_reference_in_the_docs_is_the_declarations():
    assert reference_table(SETTINGS) in DOCS.read_text()


def test_the_script_says_what_the_spec_says():
    from triton_kit.conversion.results.manifest import reproduce_script

    script = reproduce_script(full_spec())
    words = shlex.split(script.replace("\\\n", " ").split("exec ")[1])
    words = words[3:-2]

    assert parsed(words) == full_spec(dry_run=False, cache=None)


def test_gate_and_calibration_are_valid_or_do_not_exist():
    with pytest.raises(SpecError):
        Gate(min_cosine=2)
    with pytest.raises(SpecError):
        Calibration(data=Path("c.npz"), method="median")


@pytest.mark.parametrize(
    ("name", "is_shown"),
    [("seed", True), ("timeout_s", True), ("bisect", False), ("opset", False)],
)
def test_a_default_is_shown_where_it_says_something(name, is_shown):
    assert BY_NAME[name].has_shown_default is is_shown
