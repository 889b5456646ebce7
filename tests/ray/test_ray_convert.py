"""Conversions on the nodes of a real Ray cluster."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.errors import SpecError, VerifyError
from triton_kit.execute.executors import conversion
from triton_kit.options.conversion import Calibration, Gate

PASS = """
def name_it(model):
    model.doc_string = "the user's own"
    return model
"""


@pytest.fixture
def spec(tmp_path, monkeypatch):
    """A quantization that reads every kind of file; weights are beside the graph."""
    folder = tmp_path / "user's files"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "own_pass.py").write_text(PASS)
    rng = np.random.default_rng(0)
    np.savez(folder / "rows.npz", x=rng.standard_normal((32, 16)).astype(np.float32))
    np.savez(folder / "check.npz", x=rng.standard_normal((8, 16)).astype(np.float32))
    weights = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in (("a", (16, 64)), ("b", (64, 8)))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"], name="first"),
        helper.make_node("MatMul", ["h", "b"], ["y"], name="second"),
    ]
    ends = [
        helper.make_tensor_value_info(name, 1, ["n", width])
        for name, width in (("x", 16), ("y", 8))
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    opsets = [helper.make_opsetid("", 18)]
    onnx.save_model(
        helper.make_model(graph, opset_imports=opsets, ir_version=9),
        folder / "net.onnx",
        save_as_external_data=True,
        location="net.weights",
        size_threshold=0,
    )
    return ConvertSpec(
        source=folder / "net.onnx",
        output=tmp_path / "here" / "model.onnx",
        precision="int8",
        calibration=Calibration(data=folder / "rows.npz"),
        verify_data=folder / "check.npz",
        passes=("own_pass:name_it",),
    )


def changed(spec, **fields):
    known = {name: getattr(spec, name) for name in spec.__dataclass_fields__}
    return ConvertSpec(**(known | fields))


def contents_of(folder):
    return {p.name: (p.read_bytes(), p.stat().st_mode) for p in folder.iterdir()}


def test_a_node_writes_the_same_bytes(spec, driver, tmp_path):
    there = changed(spec, output=tmp_path / "there" / "model.onnx")
    local, remote = convert(spec), conversion("ray")(there)

    assert remote.artifact == there.output
    assert remote.accuracy == local.accuracy
    assert onnx.load(remote.artifact).doc_string == "the user's own"
    assert contents_of(tmp_path / "there") == contents_of(tmp_path / "here")


def test_errors_of_a_node_name_the_users_files(spec, driver, tmp_path):
    strict = changed(spec, bisect=False, gate=Gate(min_snr_db=200.0))
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    broken = changed(spec, source=tmp_path / "broken.onnx")
    for bad, kind in ((strict, VerifyError), (broken, Exception)):
        with pytest.raises(kind) as local:
            convert(bad)
        with pytest.raises(type(local.value)) as remote:
            conversion("ray")(bad)

        assert remote.value.message == local.value.message
        assert remote.value.hint == local.value.hint
        assert not spec.output.parent.exists()


def test_the_command_shows_the_node_and_the_stages(spec, driver, kit, tmp_path):
    words = ["convert", spec.source, "-o", tmp_path / "out"]
    local, result = kit(*words), kit(*words, "--executor", "ray")

    assert result.exit_code == 0, result.output
    where, *stages = result.stderr.splitlines()
    assert where.startswith("on node ")
    assert stages == local.stderr.splitlines()
    assert stages[0] == f"reading {spec.source}"
    assert kit(*words, "--executor", "ray", "-q").stderr == ""
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        *("model.onnx", "manifest.json", "reproduce.sh")
    }


def test_a_plan_needs_a_node_with_a_gpu(spec, driver):
    plan = changed(
        spec, format="plan", precision="fp16", calibration=None, verify_data=None
    )

    with pytest.raises(SpecError, match=r"1 GPU each; .* room for 0"):
        conversion("ray")(plan)
    words = "1 GPU and the resource compute-9.0"
    with pytest.raises(SpecError, match=f"{words} each") as caught:
        conversion("ray", "9.0")(plan)
    options = """--num-gpus 1 --resources '{"compute-9.0": 1}'"""
    assert caught.value.hint == f"no node has {words}: ray start {options}"


@pytest.mark.parametrize(
    ("executor", "artifact", "capability", "match"),
    [
        ("local", "plan", "9.0", "chooses a node of a cluster"),
        ("ray", "onnx", "9.0", "is that of a plan's GPU, and the artifact is onnx"),
        ("ray", "plan", "nine", "compute capability 'nine' cannot be read"),
    ],
)
def test_a_compute_capability_without_a_use_is_refused(
    cluster, nets, kit, tmp_path, executor, artifact, capability, match
):
    words = ["--artifact", artifact, "--executor", executor]
    words += ["--compute-capability", capability]
    result = kit("convert", nets / "net.onnx", "-o", tmp_path / "out", *words)

    assert result.exit_code == 2, result.output
    assert match in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()


def test_plans_are_not_built_here_and_on_a_node(nets, kit, tmp_path):
    words = ["--artifact", "plan", "--builder", "docker", "--executor", "ray"]
    result = kit("convert", nets / "net.onnx", "-o", tmp_path / "out", *words)

    assert result.exit_code == 2, result.output
    assert "--builder docker builds plans on this machine" in result.output
    assert not (tmp_path / "out").exists()
