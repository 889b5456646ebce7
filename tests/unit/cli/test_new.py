"""`triton-kit new`: recipes listed, written, and refused."""

import json
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from triton_kit.project.load import load_project
from triton_kit.project.scaffold import recipes, scaffold

TESTS = Path(__file__).parents[2] / "server" / "recipes"


def test_the_list_says_what_each_recipe_shows(kit):
    shown = kit("new", "--list")
    listed = json.loads(kit("new", "--list", "--json").stdout)

    assert shown.exit_code == 0, shown.output
    assert {one["name"]: one["shows"] for one in listed} == recipes()
    for one in listed:
        assert one["shows"]
        assert f"{one['name']} " in shown.stdout


def test_an_unknown_recipe_names_the_nearest(kit, tmp_path):
    result = kit("new", "digit", tmp_path / "new")

    assert result.exit_code == 2
    assert "did you mean 'digits'?" in result.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "words", [[], ["digits"], ["--json"], ["--list", "digits"]], ids=" ".join
)
def test_incomplete_words_are_refused(kit, words):
    result = kit("new", *words)

    assert result.exit_code == 2
    assert result.stdout == ""


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_is_complete(name, tmp_path):
    scaffold(name, tmp_path / "new")
    project = load_project(tmp_path / "new").spec

    assert {"local", "gpu"} <= project.targets.keys()
    assert project.tests
    assert project.loads
    for file in ("README.md", "client.py", "samples"):
        assert (tmp_path / "new" / file).exists()
    assert (TESTS / f"test_recipe_{name.replace('-', '_')}.py").is_file()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("../secret.bin", "outside of its folder"),
        ("absent.bin", "which is not there"),
    ],
)
def test_weights_that_are_not_beside_the_model_are_refused(
    kit, tmp_path, weights, message
):
    (tmp_path / "secret.bin").write_bytes(bytes(64))
    model = tmp_path / "nets" / "net.onnx"
    model.parent.mkdir()
    model.write_bytes(affine_with_weights_in(weights))

    result = kit("new", "--from", model, tmp_path / "new" / "project")

    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "new").exists()


def affine_with_weights_in(location):
    """Return a model y = x + b whose b is in another file."""
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"
    ]
    weight = TensorProto(name="b", data_type=TensorProto.FLOAT, dims=[1, 4])
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    node = helper.make_node("Add", ["x", "b"], ["y"])
    graph = helper.make_graph([node], "g", tensors[:1], tensors[1:], [weight])
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets).SerializeToString()
