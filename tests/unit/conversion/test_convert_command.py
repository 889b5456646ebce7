"""`triton-kit convert`, and every input that people get wrong."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest
from convert_networks import Builder, T, saved

from triton_kit import errors

SHAPES = "image:1x3x32x32,8x3x32x32,16x3x32x32"


@pytest.fixture
def source(networks):
    return networks / "cnn.onnx"


def test_the_artifact_comes_with_manifest_and_script(kit, source, tmp_path):
    out = tmp_path / "out"

    result = kit("convert", source, "-o", out, "--shape", SHAPES, "--precision", "fp16")

    assert result.exit_code == 0, result.output
    assert "SNR" in result.output
    assert sorted(p.name for p in out.iterdir()) == [
        "manifest.json",
        "model.onnx",
        "reproduce.sh",
    ]
    facts = json.loads((out / "manifest.json").read_text())
    assert facts["precision"] == "fp16"
    assert facts["spec"]["profiles"][0]["image"]["max"] == [16, 3, 32, 32]
    assert facts["source"]["files"]["cnn.onnx"]
    assert str(tmp_path) not in (out / "manifest.json").read_text()


def test_the_script_makes_the_same_bytes_again(kit, networks, source, tmp_path):
    first, again = tmp_path / "first", tmp_path / "again"
    data = ["--calibration", networks / "cnn.npz", "--calibration-method", "percentile"]
    kit("convert", source, "-o", first, "--shape", SHAPES, "--precision=int8", *data)

    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])  # noqa: PTH120
    subprocess.run(
        [first / "reproduce.sh", again],
        env=os.environ | {"PATH": path},
        check=True,
        capture_output=True,
    )

    for name in ("model.onnx", "manifest.json"):
        assert (first / name).read_bytes() == (again / name).read_bytes()


def test_json_goes_to_stdout_alone(kit, source, tmp_path):
    result = kit("convert", source, "-o", tmp_path, "--shape", SHAPES, "--json")

    assert json.loads(result.stdout)["format"] == "onnx"


def spoilt_samples(path, array):
    np.savez(path, **array)
    return path


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (
            {"picture": np.zeros((4, 3, 32, 32), np.float32)},
            "no array for input 'image'",
        ),
        ({"image": np.zeros((4, 3, 31, 32), np.float32)}, "has shape (4, 3, 31, 32)"),
        ({"image": np.full((4, 3, 32, 32), np.nan, np.float32)}, "first in sample 0"),
        ({"image": np.full((4, 3, 32, 32), np.inf, np.float32)}, "NaN or Inf"),
        ({"image": np.zeros((4, 3, 32, 32), np.complex64)}, "complex64"),
        ({"image": np.zeros((0, 3, 32, 32), np.float32)}, "holds no samples"),
    ],
)
def test_bad_calibration_is_named(kit, source, tmp_path, arrays, words):
    samples = spoilt_samples(tmp_path / "bad.npz", arrays)
    out = tmp_path / "out"

    result = kit(
        "convert", source, "-o", out, "--precision", "int8", "--calibration", samples
    )

    assert result.exit_code == errors.SpecError.exit_code, result.output
    assert words in result.output
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["--precision", "int8"], errors.SpecError, "needs calibration"),
        (["--shape", "image:1x3"], errors.SpecError, "do not fit"),
        (["--shape", "image=1x3x32x32"], errors.SpecError, "are not NAME:MIN,OPT,MAX"),
        (["--shape", "img:1x3x32x32"], errors.SpecError, "did you mean 'image'"),
        (
            ["--shape", "image:8x3x32x32,4x3x32x32,9x3x32x32"],
            errors.SpecError,
            "axis 0",
        ),
        (["--calibration", "absent.npz"], errors.SpecError, "no such file"),
        (["--option", "workspace=1G"], errors.SpecError, "the artifact is onnx"),
        (["--option", "workspace"], errors.SpecError, "KEY=VALUE"),
        (["--range", "image:3"], errors.SpecError, "NAME:LOW,HIGH"),
        (["--keep-fp32", "conv_99"], errors.SpecError, "did you mean 'conv_"),
        (["--pass", "nothing"], errors.SpecError, "package.module:function"),
        (["--pass", "no_such_module:f"], errors.SpecError, "no_such_module"),
        (["--min-top1-agreement", "99"], errors.SpecError, "0.99 is 99 %"),
        (["--precision", "fp16", "--min-snr-db", "150"], errors.VerifyError, "most is"),
        (["--timeout", "0.01"], errors.VerifyError, "raise --timeout"),
    ],
)
def test_invalid_settings_are_refused_and_write_nothing(
    kit, source, tmp_path, arguments, error, words
):
    out = tmp_path / "out"
    given = arguments
    if "--precision" in arguments or "--keep-fp32" in arguments:
        given = ["--precision", "fp16", *arguments]

    result = kit("convert", source, "-o", out, *given)

    assert result.exit_code == error.exit_code, result.output
    assert words in result.output
    assert "Traceback" not in result.output
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("cut.onnx", lambda source: source.read_bytes()[:5000], "cut short"),
        ("empty.onnx", lambda _: b"", "empty"),
        ("foreign.onnx", lambda _: b"\x89PNG\r\n" * 40, "not an ONNX model"),
        ("model.xyz", lambda source: source.read_bytes(), "by its ending"),
    ],
)
def test_files_that_are_no_models_are_refused(
    kit, source, tmp_path, name, content, words
):
    (tmp_path / name).write_bytes(content(source))

    result = kit("convert", tmp_path / name, "-o", tmp_path / "out")

    assert result.exit_code in (2, 3), result.output
    assert words in result.output
    assert not (tmp_path / "out").exists()


def test_an_operator_without_a_kernel_is_named_with_its_first_node(kit, tmp_path):
    b = Builder()
    b.op("Multinomial", "x", to="y", dtype=T.INT64)
    b.nodes[0].domain = ""
    b.nodes[0].op_type = "Nowhere"
    model = b.model([("x", T.FLOAT, [2, 4])], [("y", T.INT64, [2, 1])])
    model.graph.node[0].domain = "mine"
    model.opset_import.append(onnx.helper.make_opsetid("mine", 1))
    onnx.save(model, tmp_path / "m.onnx")

    result = kit("convert", tmp_path / "m.onnx", "-o", tmp_path / "out")

    assert result.exit_code == errors.VerifyError.exit_code
    assert "mine:Nowhere" in result.output
    assert "--pass" in result.output


def test_a_failed_build_leaves_what_was_there(kit, source, tmp_path):
    kit("convert", source, "-o", tmp_path / "out", "--shape", SHAPES)
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}

    result = kit(
        *("convert", source, "-o", tmp_path / "out", "--shape", SHAPES),
        *("--precision", "fp16", "--min-snr-db", "150"),
    )

    assert result.exit_code == errors.VerifyError.exit_code
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_a_full_disk_leaves_nothing_half_done(source, tmp_path):
    """A limit on file size stands for the disk: the write fails the same way."""
    out = tmp_path / "out"
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "from triton_kit.conversion.output_files import publish_files as real\n"
        "from pathlib import Path\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "from triton_kit.errors import ConvertError\n"
        "try: real([Path(sys.argv[1])], Path(sys.argv[2]), copies=True)\n"
        "except ConvertError as error: sys.exit(str(error))\n"
    )

    # -B: Python would leave the first part of a compiled module, and run it later.
    argv = [sys.executable, "-B", "-c", code, str(source), str(out)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert "cannot write it" in done.stderr
    assert not out.exists()


def test_ctrl_c_leaves_nothing_and_no_child(networks, source, tmp_path):
    out = tmp_path / "out"
    argv = [sys.executable, "-m", "triton_kit", "convert", source, "-o", out]
    argv += ["--precision", "int8", "--calibration", networks / "cnn.npz"]
    with subprocess.Popen(
        argv,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    ) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("triton-kit-*/original")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        process.wait(60)

    assert process.returncode != 0
    assert not out.exists()
    assert not list(tmp_path.glob("triton-kit-*"))


def test_a_user_pass_can_cut_outputs(kit, tmp_path):
    b = Builder()
    b.op("Relu", "x", to="y")
    b.op("Neg", "y", to="z")
    values = [("y", T.FLOAT, ["n", 4]), ("z", T.FLOAT, ["n", 4])]
    saved(b.model([("x", T.FLOAT, ["n", 4])], values), tmp_path / "two.onnx")
    (tmp_path / "cut_passes.py").write_text(CUT)
    out = tmp_path / "out"

    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "triton_kit",
            "convert",
            "two.onnx",
            "-o",
            "out",
            "--pass",
            "cut_passes:keep_first",
        ],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    model = onnx.load(out / "model.onnx")
    assert [o.name for o in model.graph.output] == ["y"]
    assert [n.op_type for n in model.graph.node] == ["Relu"]


CUT = """
import onnx_graphsurgeon as gs


def keep_first(model):
    graph = gs.import_onnx(model)
    graph.outputs = graph.outputs[:1]
    return gs.export_onnx(graph.cleanup().toposort())
"""
