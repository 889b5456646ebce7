"""A first triton-kit.yaml from model files, and its schema."""

import json

import yaml

from onnx_builders import onnx_bytes
from triton_kit.project.load import load_project


def test_a_project_is_written_that_builds(kit, digits_recipe, tmp_path):
    result = kit("init", digits_recipe / "digits.onnx", "-o", tmp_path / "new")

    built = kit("build", tmp_path / "new")

    assert result.exit_code == 0, result.output
    assert f"Next: triton-kit build {tmp_path / 'new'}" in result.stderr
    assert built.exit_code == 0, built.output


def test_shapes_and_batching_come_from_the_file(kit, tmp_path):
    path = tmp_path / "net" / "1" / "model.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(onnx_bytes({"x": ["n", 3, "w"], "s": ["n", 2]}, {"y": ["n", 3]}))
    (tmp_path / "tokenize.py").write_text("class TritonPythonModel: pass")

    result = kit("init", path, tmp_path / "tokenize.py", "-o", tmp_path)

    assert result.exit_code == 0, result.output
    text = (tmp_path / "triton-kit.yaml").read_text()
    models = yaml.safe_load(text)["models"]
    assert models["net"]["source"] == "net/1/model.onnx"
    assert models["net"]["batching"] == {"max_batch_size": 8}
    assert models["net"]["inputs"]["x"]["max"] == [8, 3, 128]
    assert models["net"]["inputs"]["s"]["min"] == [1, 2]
    assert "net:  # set the bounds of the axes that vary" in text
    assert models["tokenize"]["source"] == "tokenize.py"
    assert load_project(tmp_path).spec.models.keys() == {"net", "tokenize"}


def test_a_model_of_fixed_shapes_needs_no_bounds(kit, tmp_path):
    (tmp_path / "net.onnx").write_bytes(onnx_bytes({"x": [1, 3]}, {"y": [1, 3]}))

    kit("init", tmp_path / "net.onnx", "-o", tmp_path)

    models = yaml.safe_load((tmp_path / "triton-kit.yaml").read_text())["models"]
    assert models == {"net": {"source": "net.onnx"}}


def test_names_that_look_like_numbers_stay_names(kit, tmp_path):
    folder = tmp_path / "2024"
    folder.mkdir()
    (folder / "1e5.py").write_text("class TritonPythonModel: pass")

    result = kit("init", folder / "1e5.py", "-o", folder)

    assert result.exit_code == 0, result.output
    text = (folder / "triton-kit.yaml").read_text()
    assert yaml.safe_load(text)["name"] == "2024"
    assert list(load_project(folder).spec.models) == ["1e5"]
    assert "&" not in text


def test_a_file_that_could_not_be_loaded_is_not_written(kit, tmp_path):
    model = tmp_path / ("n" * 130 + ".onnx")
    model.write_bytes(onnx_bytes({"x": ["n", 4]}, {"y": ["n", 4]}))

    result = kit("init", model, "-o", tmp_path / "new")

    assert result.exit_code == 2, result.output
    assert "triton-kit.yaml:5: models.nnn" in result.output
    assert not (tmp_path / "new").exists()


def test_a_project_that_exists_stays(kit, digits):
    before = (digits / "triton-kit.yaml").read_text()

    result = kit("init", digits / "digits.onnx", "-o", digits)

    assert result.exit_code == 2
    assert "exists already" in result.output
    assert (digits / "triton-kit.yaml").read_text() == before


def test_the_schema_knows_every_key_of_the_example(kit, digits_recipe):
    schema = json.loads(kit("schema").stdout)
    project = yaml.safe_load((digits_recipe / "triton-kit.yaml").read_text())

    assert project.keys() <= schema["properties"].keys()
    model = schema["$defs"]["ModelSpec"]
    assert model["additionalProperties"] is False
    for written in project["models"].values():
        assert written.keys() <= model["properties"].keys()
