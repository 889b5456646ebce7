"""The same order comes from the cache; any change makes it anew."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import triton_kit
from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.results.cache import (
    MANIFEST,
    cache_key,
    own_code,
    read_entry,
)
from triton_kit.errors import SpecError
from triton_kit.options.conversion import Calibration, Gate

TWO_AT_ONCE = """
import sys
from pathlib import Path
from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.spec import ConvertSpec
source, output, cache = map(Path, sys.argv[1:])
result = convert(ConvertSpec(source=source, output=output, cache=cache))
print(result.from_cache)
"""


def test_the_second_time_comes_from_the_cache(order, tmp_path):
    spec = order("cnn", precision="fp16", cache=tmp_path / "cache")

    first, second = convert(spec), convert(spec)

    assert (first.from_cache, second.from_cache) == (False, True)
    ignored = {"from_cache": False, "seconds": 0.0}
    assert replace(second, **ignored).manifest == dict(first.manifest)
    for field in ("inputs", "outputs", "before", "after", "accuracy", "notes"):
        assert getattr(first, field) == getattr(second, field)
    assert (spec.output.parent / "reproduce.sh").is_file()


def changed_sample(spec, tmp_path):
    with np.load(spec.calibration.data) as file:
        images = file["image"].copy()
    images[7, 0, 0, 0] += 0.5
    np.savez(tmp_path / "other.npz", image=images)
    return replace(spec, calibration=Calibration(data=tmp_path / "other.npz"))


def changed_weight(spec, tmp_path):
    model = onnx.load(spec.source)
    raw = bytearray(model.graph.initializer[0].raw_data)
    raw[0] ^= 1
    model.graph.initializer[0].raw_data = bytes(raw)
    onnx.save(model, tmp_path / "cnn.onnx")
    return replace(spec, source=tmp_path / "cnn.onnx")


@pytest.mark.parametrize(
    "change",
    [
        changed_sample,
        changed_weight,
        lambda spec, _: replace(spec, seed=1),
        lambda spec, _: replace(spec, gate=Gate(min_snr_db=31)),
        lambda spec, _: replace(spec, symmetric=True),
        lambda spec, _: replace(spec, keep_fp32=("conv_0",)),
        lambda spec, _: replace(spec, simplify=False),
        lambda spec, _: replace(spec, precision="fp8"),
        lambda spec, _: replace(spec, profiles=()),
    ],
)
def test_one_change_makes_another_key(order, tmp_path, change):
    spec = order("cnn", precision="int8")

    assert cache_key(change(spec, tmp_path)) != cache_key(spec)


def test_weights_beside_the_source_are_part_of_the_key_by_any_name(order, tmp_path):
    source = tmp_path / "apart.onnx"
    model = onnx.load(order("cnn").source)
    onnx.save_model(model, source, save_as_external_data=True, location="weights.bin")
    spec = order("cnn", source=source)
    before = cache_key(spec)
    weights = bytearray((tmp_path / "weights.bin").read_bytes())
    weights[0] ^= 1
    (tmp_path / "weights.bin").write_bytes(weights)

    assert cache_key(spec) != before


def test_where_the_artifact_goes_is_no_part_of_the_key(order, tmp_path):
    spec = order("cnn", precision="int8")
    moved = tmp_path / "moved.onnx"
    moved.write_bytes(spec.source.read_bytes())
    moved = moved.rename(tmp_path / spec.source.name)

    elsewhere = replace(
        spec, output=tmp_path / "other" / "model.onnx", timeout_s=1.0, source=moved
    )

    assert cache_key(elsewhere) == cache_key(spec)


def test_a_users_pass_is_part_of_the_key(order, tmp_path):
    spec = order("cnn", passes=("my_pass:f",), root=tmp_path)
    (tmp_path / "my_pass.py").write_text("def f(model): return model\n")
    before = cache_key(spec)
    (tmp_path / "my_pass.py").write_text("def f(model): return model  # other\n")

    assert cache_key(spec) != before


def test_a_users_comparison_is_part_of_the_key(order, tmp_path):
    spec = order("cnn", gate=Gate(function="compare:f"), root=tmp_path)
    (tmp_path / "compare.py").write_text("def f(left, right): return 1.0\n")
    before = cache_key(spec)
    (tmp_path / "compare.py").write_text("def f(left, right): return 0.0\n")

    assert cache_key(spec) != before


@pytest.mark.parametrize(
    ("file", "is_part"),
    [
        ("conversion/verify/check.py", True),
        ("conversion/precision/kernels.json", True),
        ("options/conversion.py", True),
        ("triton/onnx_limits.py", True),
        ("triton/releases.json", True),
        ("loadtest/spec.py", False),
    ],
)
def test_code_and_tables_that_decide_an_artifact_are_part_of_the_key(
    tmp_path, file, is_part
):
    package = tmp_path / "triton_kit"
    shutil.copytree(Path(triton_kit.__file__).parent, package)
    with (package / file).open("a") as changed:
        changed.write("\n")

    assert (own_code(package) != own_code()) == is_part


@pytest.mark.parametrize("helper", ["my_helper.py", "parts/inner.py"])
def test_what_a_users_pass_imports_is_part_of_the_key(order, tmp_path, helper):
    spec = order("cnn", passes=("my_pass:f",), root=tmp_path)
    (tmp_path / "my_pass.py").write_text("from my_helper import f\n")
    path = tmp_path / helper
    path.parent.mkdir(exist_ok=True)
    path.write_text("def f(model): return model\n")
    before = cache_key(spec)
    path.write_text("def f(model): return model  # other\n")

    assert cache_key(spec) != before


def test_environments_beside_a_users_pass_are_no_part_of_the_key(order, tmp_path):
    spec = order("cnn", passes=("my_pass:f",), root=tmp_path)
    (tmp_path / "my_pass.py").write_text("def f(model): return model\n")
    before = cache_key(spec)
    for name in (".hidden", "env"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "library.py").write_text("pass\n")
    (tmp_path / "env" / "pyvenv.cfg").touch()

    assert cache_key(spec) == before


def test_a_function_that_makes_a_torch_module_is_not_cached(order, tmp_path):
    (tmp_path / "net.py").write_text("def f(): ...\n")

    assert cache_key(order("cnn", source="net:f", root=tmp_path)) is None


@pytest.mark.parametrize("missing", ["source", "verify_data", "calibration"])
def test_a_missing_file_is_reported_as_without_a_cache(order, tmp_path, missing):
    nowhere = tmp_path / "nope.npz"
    is_samples = missing == "calibration"
    value = Calibration(data=nowhere) if is_samples else nowhere
    spec = order("cnn", precision="int8", **{missing: value})

    with pytest.raises(SpecError) as plain:
        convert(spec)
    with pytest.raises(SpecError) as cached:
        convert(replace(spec, cache=tmp_path / "cache"))

    assert str(cached.value) == str(plain.value)
    assert "nope.npz" in cached.value.message


def test_a_damaged_entry_is_not_served(order, tmp_path):
    spec = order("cnn", cache=tmp_path / "cache")
    good = convert(spec).artifact.read_bytes()
    (stored,) = (tmp_path / "cache").glob("*/model.onnx")
    stored.write_bytes(good[:-1] + b"\x00\x00")

    again = convert(spec)

    assert not again.from_cache
    assert again.artifact.read_bytes() == good


@pytest.mark.parametrize(
    "manifest",
    ["5", "null", "[]", '{"files": 5}', '{"files": {"a": 5}}', "[" * 100_000, "\xff"],
)
def test_a_malformed_manifest_is_a_miss(manifest, tmp_path):
    entry = tmp_path / "entry"
    entry.mkdir(0o700)
    (entry / MANIFEST).write_text(manifest)

    assert read_entry(entry) is None
    assert not entry.exists()


def test_an_entry_that_others_can_write_is_refused(tmp_path):
    entry = tmp_path / "entry"
    entry.mkdir()
    entry.chmod(0o777)
    (entry / MANIFEST).write_text('{"files": {}}')

    with pytest.raises(SpecError, match="other users can write"):
        read_entry(entry)


def test_two_builds_at_once_do_the_work_once(networks, tmp_path):
    outputs = [tmp_path / name / "model.onnx" for name in ("a", "b")]
    for output in outputs:
        output.parent.mkdir()
    argv = [sys.executable, "-c", TWO_AT_ONCE, networks / "cnn.onnx"]

    started = [
        subprocess.Popen([*argv, o, tmp_path / "cache"], stdout=subprocess.PIPE)
        for o in outputs
    ]
    said = {process.communicate(timeout=120)[0].decode().strip() for process in started}

    assert said == {"False", "True"}
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    facts = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert facts["files"]["model.onnx"]["bytes"] == outputs[0].stat().st_size
