"""torch modules, .pt2 and TorchScript become ONNX, and answer for themselves."""

import io
import os
import sys
import zipfile
from importlib.util import find_spec

import numpy as np
import onnx
import pytest

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.sources.torch import name_axes, varying_axes
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.errors import ConvertError, MissingExtraError, SpecError, VerifyError
from triton_kit.options.conversion import Calibration
from triton_kit.options.shapes import ShapeRange

needs_torch = pytest.mark.skipif(
    find_spec("torch") is None or find_spec("onnxscript") is None,
    reason="torch and onnxscript are not installed",
)
MODULE = """
import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.last = nn.Linear(16, 5)

    def forward(self, x):
        return self.last(self.attention(x, x, x, need_weights=False)[0])


def attention():
    torch.manual_seed(0)
    return Attention(), (torch.randn(1, 8, 16),)


def broken():
    raise RuntimeError("no weights here")


def network():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)
    module = nn.Sequential(*layers)
    return module, {"input": torch.randn(1, 3, 8, 8)}


class Detector(nn.Module):
    def forward(self, x):
        return {"boxes": x * 2, "scores": (x + 1, x - 1), "x": x * 3}


def detector():
    return Detector(), (torch.randn(1, 4),)


def named():
    module = Detector()
    module.output_names = ["a", "b", "c", "d"]
    return module, (torch.randn(1, 4),)
"""
SEQUENCES = {"x": ShapeRange(min=(1, 1, 16), opt=(2, 8, 16), max=(4, 20, 16))}
IMAGES = {
    "input": ShapeRange(min=(1, 3, 8, 8), opt=(4, 3, 8, 8), max=(8, 3, 8, 8)),
}


@pytest.fixture
def project(tmp_path):
    (tmp_path / "torch_networks.py").write_text(MODULE)
    return tmp_path


def spec_of(project, source, profile, **fields):
    (project / "out").mkdir()
    output = project / "out" / "model.onnx"
    given = {"source": source, "output": output, "profiles": (profile,)}
    return ConvertSpec(root=project, **given | fields)


@needs_torch
def test_a_module_is_held_against_torch_itself_at_every_shape(project):
    result = convert(spec_of(project, "torch_networks:attention", SEQUENCES))

    assert result.accuracy.min_snr_db >= 90
    assert {"profile 0 min", "profile 0 max"} <= set(result.accuracy.points)
    (axes,) = [
        [dim.dim_param for dim in value.type.tensor_type.shape.dim]
        for value in onnx.load(result.artifact).graph.input
    ]
    assert axes == ["batch", "x_1", ""]


@needs_torch
def test_a_module_goes_down_to_int8(project):
    rng = np.random.default_rng(0)
    data = project / "samples.npz"
    np.savez(data, input=rng.standard_normal((32, 3, 8, 8)).astype(np.float32))

    result = convert(
        spec_of(
            project,
            "torch_networks:network",
            IMAGES,
            precision="int8",
            calibration=Calibration(data=data),
        )
    )

    assert result.accuracy.min_snr_db >= 30
    assert result.manifest["source"]["name"] == "torch_networks:network"


@needs_torch
def test_an_exported_program_and_a_script_are_read_from_their_files(project):
    import torch

    sys.path.insert(0, str(project))
    try:
        import torch_networks
    finally:
        sys.path.remove(str(project))
    module, _ = torch_networks.network()
    module.eval()
    example = torch.randn(2, 3, 8, 8)
    batch = torch.export.Dim("batch", max=64)
    program = torch.export.export(module, (example,), dynamic_shapes=({0: batch},))
    torch.export.save(program, project / "network.pt2")
    with torch.no_grad(), pytest.warns(DeprecationWarning, match="deprecated"):
        torch.jit.trace(module, example).save(str(project / "network.pt"))

    for name in ("network.pt2", "network.pt"):
        spec = ConvertSpec(
            source=project / name,
            output=project / f"{name}.onnx",
            profiles=(IMAGES,),
        )
        assert convert(spec).accuracy.min_snr_db >= 90


@needs_torch
@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("torch_networks:broken", ConvertError, "no weights here"),
        ("torch_networks:absent", SpecError, "absent"),
        ("no_such_networks:f", SpecError, "no_such_networks"),
    ],
)
def test_what_torch_cannot_load_is_reported(project, source, error, words):
    with pytest.raises(error, match=words):
        convert(spec_of(project, source, IMAGES))


@pytest.mark.skipif(find_spec("torch") is not None, reason="torch is installed")
def test_without_torch_the_extra_is_named(project):
    with pytest.raises(MissingExtraError) as caught:
        convert(spec_of(project, "torch_networks:network", IMAGES))

    assert "triton_kit[torch]" in caught.value.hint


@pytest.mark.skipif(find_spec("tf2onnx") is not None, reason="tf2onnx is installed")
def test_without_tensorflow_the_extra_is_named(tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"x")

    with pytest.raises(MissingExtraError) as caught:
        convert(ConvertSpec(source=tmp_path / "saved", output=tmp_path / "m.onnx"))

    assert "TRITON_KIT_TENSORFLOW_PYTHON" in caught.value.message


def test_a_folder_that_is_no_savedmodel_is_refused(tmp_path):
    with pytest.raises(SpecError, match="not a SavedModel"):
        convert(ConvertSpec(source=tmp_path, output=tmp_path / "m.onnx"))


def test_axes_vary_where_any_profile_says_so():
    first = {"x": ShapeRange(min=(1, 8), opt=(1, 8), max=(1, 8))}
    second = {"x": ShapeRange(min=(1, 16), opt=(1, 16), max=(4, 16))}

    assert varying_axes([first, second]) == {"x": [0, 1]}


def test_axes_get_names_that_a_reader_knows():
    value = onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.FLOAT
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Add", ["a", "b"], ["c"])],
            "g",
            [value("a", kind, ["s0", "s1"]), value("b", kind, ["s0", None])],
            [value("c", kind, ["s0", "s1"])],
        )
    )

    name_axes(model)

    named = {
        v.name: [d.dim_param for d in v.type.tensor_type.shape.dim]
        for v in (*model.graph.input, *model.graph.output)
    }
    assert named == {
        "a": ["batch", "a_1"],
        "b": ["batch", "b_1"],
        "c": ["batch", "a_1"],
    }


@needs_torch
def test_an_export_with_other_outputs_fails(project):
    """Dropout in training mode: torch answers differently each time."""
    (project / "noisy_networks.py").write_text(
        "import torch\n"
        "class Noisy(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return x + float(torch.rand(()))\n"
        "def make():\n"
        "    return Noisy(), (torch.randn(2, 4),)\n"
    )
    shapes = {"x": ShapeRange(min=(1, 4), opt=(2, 4), max=(4, 4))}

    with pytest.raises((VerifyError, ConvertError)):
        convert(spec_of(project, "noisy_networks:make", shapes))


class _Intruder:
    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@needs_torch
def test_an_exported_program_runs_no_code_that_is_pickled_in_it(tmp_path):
    import torch

    whole, spoiled = tmp_path / "whole.pt2", tmp_path / "spoiled.pt2"
    program = torch.export.export(torch.nn.Linear(3, 2), (torch.zeros(1, 3),))
    torch.export.save(program, whole)
    buffer = io.BytesIO()
    torch.save(((_Intruder(tmp_path / "came"),), {}), buffer)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(spoiled, "w") as target:
        for name in source.namelist():
            is_pickle = name.endswith("sample_inputs/model.pt")
            target.writestr(name, buffer.getvalue() if is_pickle else source.read(name))
    fixed = ShapeRange(min=(1, 3), opt=(1, 3), max=(1, 3))

    with pytest.raises(ConvertError):
        convert(spec_of(tmp_path, spoiled, {"input": fixed}))

    assert not (tmp_path / "came").exists()
    torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)
    assert (tmp_path / "came").exists()  # the pickle does what it was made for


@needs_torch
@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("torch_networks:detector", ["boxes", "scores_0", "scores_1", "x_out"]),
        ("torch_networks:named", ["a", "b", "c", "d"]),
        ("torch_networks:network", ["output_0"]),
    ],
)
def test_outputs_have_names_that_people_gave(project, source, names):
    shape = ShapeRange(min=(1, 4), opt=(2, 4), max=(4, 4))
    profile = IMAGES if source.endswith("network") else {"x": shape}

    result = convert(spec_of(project, source, profile))

    assert [output.name for output in result.outputs] == names
