"""Builder options, held against the real APIs of TensorRT 10, 11 and RTX."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import triton_kit
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.tensorrt.builder_options import (
    OPTIONS,
    check_backend,
    needed,
    parse_options,
)
from triton_kit.conversion.tensorrt.tensorrt_api import has, known_api
from triton_kit.errors import SpecError

ROOT = Path(triton_kit.__file__).parents[1]
WHEELS = ROOT / ".cache" / "tensorrt-bindings"
VERSIONS = {"trt10": "10.13.3.9", "trt11": "11.4.0.106"}
LIBRARIES = ("nvinfer", "nvonnxparser", "nvinfer_plugin")
SYMBOLS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)
SAMPLE = {"flag": "true", "number": "1", "bytes": "1G", "path": "x", "list": "8.9"}
GONE_IN_11 = ("FP16", "BF16", "INT8", "FP8", "OBEY_PRECISION_CONSTRAINTS")


def collected(module, **env):
    argv = [sys.executable, "-m", "triton_kit.conversion.tensorrt.tensorrt_api", module]
    done = subprocess.run(
        argv, env=os.environ | env, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout[done.stdout.index("{") :])


@pytest.mark.parametrize("backend", VERSIONS)
def test_the_table_is_what_the_real_bindings_have(backend, tmp_path):
    """The wheel's extension needs libraries that only a GPU host has: empty ones do."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler to make empty libraries with")
    version = VERSIONS[backend]
    folder = unpacked_bindings(version)
    major = version.split(".")[0]
    source = tmp_path / "empty.c"
    source.write_text("".join(f"void *{s}(void) {{ return 0; }}\n" for s in SYMBOLS))
    for name in LIBRARIES:
        file = f"lib{name}.so.{major}"
        argv = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{file}", "-o", file, source]
        subprocess.run(argv, cwd=tmp_path, check=True)

    table = collected(
        "tensorrt_bindings",
        LD_LIBRARY_PATH=str(tmp_path),
        PYTHONPATH=f"{folder}{os.pathsep}{ROOT}",
    )

    assert table["version"] == version
    assert {n: tuple(m) for n, m in table["api"].items()} == known_api(backend)


def unpacked_bindings(version):
    folder = WHEELS / version
    if not (folder / "tensorrt_bindings").is_dir():
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        argv += ["--dest", str(WHEELS), f"tensorrt_cu13_bindings=={version}"]
        if subprocess.run(argv, capture_output=True, check=False).returncode:
            pytest.skip(f"tensorrt_cu13_bindings {version} cannot be downloaded here")
        (wheel,) = WHEELS.glob(f"tensorrt_cu13_bindings-{version}-*.whl")
        shutil.unpack_archive(wheel, folder, "zip")
    return folder


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="no TensorRT for RTX")
def test_the_table_is_what_rtx_has():
    table = collected("tensorrt_rtx")

    assert {n: tuple(m) for n, m in table["api"].items()} == known_api("rtx")


def test_tensorrt_11_lacks_what_the_design_says():
    for flag in GONE_IN_11:
        assert has(known_api("trt10"), f"BuilderFlag.{flag}")
        assert not has(known_api("trt11"), f"BuilderFlag.{flag}")
        assert not has(known_api("rtx"), f"BuilderFlag.{flag}")


@pytest.mark.parametrize("backend", ["trt10", "trt11", "rtx"])
@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_is_in_the_api_or_refused_by_name(backend, name):
    option = OPTIONS[name]
    words = list(option.choices) or [SAMPLE[option.kind]]
    api = known_api(backend)

    for word in words:
        values = parse_options({name: word} | together(name))
        there = all(
            has(api, dotted) for n, v in values.items() for dotted in needed(n, v)
        )
        if there and backend not in option.refused:
            check_backend({name: values[name]}, backend, api)
        else:
            with pytest.raises(SpecError, match=name):
                check_backend({name: values[name]}, backend, api)


def together(name):
    return {
        "deterministic": {"timing_cache": "x"},
        "exclude_lean_runtime": {"version_compatible": "true"},
        "gpu_fallback": {"dla_core": "0"},
        "strip_weights": {"refit": "identical"},
    }.get(name, {})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("512M", 512 << 20),
        ("2G", 2 << 30),
        ("2GiB", 2 << 30),
        ("64k", 64 << 10),
        ("7", 7),
    ],
)
def test_sizes_are_read(text, found):
    assert parse_options({"workspace": text}) == {"workspace": found}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"workspce": "1G"}, "workspce"),
        ({"workspace": "big"}, "512M"),
        ({"optimization_level": "6"}, "0 to 5"),
        ({"optimization_level": "high"}, "0 to 5"),
        ({"tf32": "maybe"}, "true or false"),
        ({"layer_info": "all"}, "none or names or detailed"),
        ({"deterministic": "true"}, "timing_cache"),
        ({"gpu_fallback": "true"}, "dla_core"),
    ],
)
def test_malformed_options_are_refused(given, words):
    with pytest.raises(SpecError, match=words):
        parse_options(given)


def test_hardware_that_a_backend_lacks_names_what_it_has():
    with pytest.raises(SpecError, match="SM90") as caught:
        check_backend(parse_options({"hardware": "9.0"}), "rtx", known_api("rtx"))

    assert "8.9" in caught.value.hint


@pytest.mark.parametrize("bounds", [(1, 0), (float("nan"), 1), (0, float("inf"))])
def test_a_range_that_nothing_can_be_drawn_from_is_refused(tmp_path, bounds):
    with pytest.raises(SpecError, match="range of 'x'") as caught:
        ConvertSpec(
            source=tmp_path / "m.onnx",
            output=tmp_path / "model.onnx",
            ranges={"x": bounds},
        )

    assert "--range x:0,1" in caught.value.hint
