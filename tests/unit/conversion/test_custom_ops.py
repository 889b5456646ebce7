"""Libraries of custom operators: ONNX Runtime's own package of them is one."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from convert_networks import Builder, T, saved

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.results.manifest import sha256
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.errors import SpecError, VerifyError
from triton_kit.options.conversion import Calibration

extensions = pytest.importorskip("onnxruntime_extensions")
DOMAIN = "ai.onnx.contrib"


@pytest.fixture
def library(tmp_path):
    path = tmp_path / "lib" / "ops.so"
    path.parent.mkdir()
    path.symlink_to(extensions.get_library_path())
    return path


@pytest.fixture
def source(tmp_path):
    """A network with NegPos, an operator of the library, between its products."""
    b = Builder()
    hidden = b.op("MatMul", "x", b.weight("first", (16, 64)))
    parts = ["negative", "positive"]
    b.nodes.append(onnx.helper.make_node("NegPos", [hidden], parts, domain=DOMAIN))
    b.op("MatMul", "positive", b.weight("second", (64, 8)), to="y")
    model = b.model([("x", T.FLOAT, ["n", 16])], [("y", T.FLOAT, ["n", 8])])
    model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    return saved(model, tmp_path / "source.onnx")


def converted(source, tmp_path, **fields):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((64, 16)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", x=rows)
    spec = ConvertSpec(
        source=source,
        output=tmp_path / "out" / "model.onnx",
        calibration=Calibration(data=tmp_path / "rows.npz"),
        **fields,
    )
    return convert(spec)


def test_every_candidate_runs_with_the_library_which_lies_beside_it(
    source, library, tmp_path
):
    result = converted(source, tmp_path, custom_ops=(library,), precision="auto")

    tried = {row.precision: row.seconds for row in result.tried if row.seconds}
    assert set(tried) == {"int8", "int8-dynamic", "fp16", "fp32"}
    beside = result.artifact.parent / "ops.so"
    assert sha256(beside) == sha256(library)
    assert result.manifest["files"]["ops.so"]["sha256"] == sha256(library)
    assert "--custom-ops" in (beside.parent / "reproduce.sh").read_text()
    options = ort.SessionOptions()
    options.register_custom_ops_library(str(beside))
    assert ort.InferenceSession(result.artifact, options).get_outputs()[0].name == "y"


def test_without_its_library_the_operator_is_named(source, tmp_path):
    with pytest.raises(VerifyError, match=r"ai.onnx.contrib:NegPos") as caught:
        converted(source, tmp_path)

    assert "--custom-ops" in caught.value.hint


def test_a_library_is_one_of_onnx_runtime_and_is_there(source, library, tmp_path):
    with pytest.raises(SpecError, match=r"the artifact is plan"):
        converted(source, tmp_path, custom_ops=(library,), format="plan")
    with pytest.raises(SpecError, match=r"absent.so: no such file"):
        converted(source, tmp_path, custom_ops=(tmp_path / "absent.so",))
