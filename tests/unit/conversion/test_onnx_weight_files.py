"""Large weights stay in files: the same artifacts come out, from any form of source."""

from dataclasses import replace

import onnx
import pytest

from triton_kit.conversion.onnx.onnx_file import load_onnx, save_onnx
from triton_kit.conversion.onnx.passes import to_opset
from triton_kit.conversion.onnx.prepare import prepare
from triton_kit.conversion.onnx.source_model import SourceModel
from triton_kit.conversion.onnx.weight_files import (
    Limits,
    array_of,
    has_apart,
    weights_in,
    whole,
)
from triton_kit.conversion.onnx.weight_reader import load_apart
from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.precision.emulate import emulated
from triton_kit.conversion.precision.lower import lower_floats
from triton_kit.conversion.precision.overflow import fp16_obstacles
from triton_kit.errors import ConvertError


@pytest.fixture
def apart(tmp_path):
    """Every model is large in here."""
    (tmp_path / "scratch").mkdir()
    limits = Limits(model=0, tensor=512)
    with weights_in(tmp_path / "scratch", limits=limits):
        yield tmp_path / "scratch"


@pytest.fixture(params=["one file", "beside"])
def source(request, networks, tmp_path):
    model = load_onnx(networks / "transformer.onnx")
    path = tmp_path / "source.onnx"
    most = 0 if request.param == "beside" else 2**31
    save_onnx(model, path, external_over_bytes=most)
    return path, model


def assert_same(model, other):
    for name in ("input", "output", "node"):
        assert list(getattr(model.graph, name)) == list(getattr(other.graph, name))
    assert weights(model) == weights(other)
    assert list(weights(model)) == list(weights(other))  # in this order


def weights(model):
    return {t.name: array_of(t).tolist() for t in model.graph.initializer}


def test_a_model_read_so_is_the_same(source, apart):
    path, plain = source

    model = load_apart(path, model_bytes=1)

    assert has_apart(model)
    assert len(model.SerializeToString()) < len(plain.SerializeToString()) / 2
    assert weights(model) == weights(plain)
    assert_same(whole(model), plain)


@pytest.mark.parametrize("most_bytes", [0, 2**31])
def test_a_model_written_so_is_the_same(source, apart, tmp_path, most_bytes):
    path, plain = source
    written = tmp_path / "written.onnx"

    save_onnx(load_apart(path, model_bytes=1), written, external_over_bytes=most_bytes)

    onnx.checker.check_model(written)
    assert_same(load_onnx(written), plain)
    assert (tmp_path / "written.onnx.data").exists() is (most_bytes == 0)


def test_passes_and_precisions_make_the_same_graph(source, apart):
    path, plain = source
    model = load_apart(path, model_bytes=1)

    assert weights(to_opset(model, 18)) == weights(to_opset(plain, 18))
    assert fp16_obstacles(model, {}, {}) == fp16_obstacles(plain, {}, {})
    low, wanted = (
        lower_floats(given, to="fp16", keep={}).model for given in (model, plain)
    )
    assert has_apart(low)
    assert_same(whole(low), wanted)
    assert_same(whole(emulated(low)), emulated(wanted))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_large_model_converts_as_a_small_one_does(order, tmp_path, precision):
    spec = order("transformer", precision=precision)
    small = convert(spec)

    with weights_in(tmp_path, limits=Limits(model=0, tensor=512)):
        large = convert(replace(spec, output=tmp_path / "large" / "model.onnx"))

    names = [path.name for path in large.artifact.parent.glob("*.onnx*")]
    assert names == ["model.onnx"]
    assert large.after.bytes == pytest.approx(small.after.bytes, rel=0.2)
    assert large.accuracy.min_snr_db == pytest.approx(small.accuracy.min_snr_db, abs=6)


def test_a_simplified_graph_has_its_weights_back(order, apart):
    spec = order("transformer")

    prepared = prepare(spec, SourceModel.read(spec.source), apart)

    assert has_apart(prepared.model)
    assert prepared.source_file != spec.source
    assert len(prepared.model.graph.node) < 96  # of the source
    assert not prepared.notes


def test_a_cut_file_is_no_model(source, apart, tmp_path):
    path, _ = source
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(ConvertError, match="cannot be read as an ONNX model"):
        load_apart(cut, model_bytes=1)


def test_weights_outside_of_the_folder_are_refused(source, apart, tmp_path):
    path, _ = source
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(bytes(1 << 20))
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "../outside.bin"), ("length", str(1 << 20))):
        tensor.external_data.add(key=key, value=value)
    (folder / "model.onnx").write_bytes(model.SerializeToString())

    with pytest.raises(ConvertError, match="cannot be read as an ONNX model"):
        load_apart(folder / "model.onnx", model_bytes=1)
