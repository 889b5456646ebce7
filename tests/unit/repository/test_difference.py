"""What two configs mean differently."""

import json

from triton_kit.errors import RepositoryError
from triton_kit.repository.config.parse import parse
from triton_kit.repository.difference import config_changes

OLD = """
name: "m" max_batch_size: 4
input [ { name: "a" data_type: TYPE_FP32 dims: [ 4 ] }, { name: "b" dims: [ 1 ] } ]
parameters { key: "k" value { string_value: "v" } }
response_cache { }
"""
NEW = """
max_batch_size: 8 name: 'm'
input [ { name: "z" dims: [ 2 ] }, { name: "b" dims: [ 1 ] },
        { name: "a" dims: 4 dims: -1 data_type: TYPE_FP32 } ]
parameters { key: "k" value { string_value: "w" } }
dynamic_batching { }
"""


def said(old, new):
    return [str(c) for c in config_changes(parse(old).config, parse(new).config)]


def test_fields_added_removed_and_changed_are_named():
    assert said(OLD, NEW) == [
        "~ max_batch_size: 4 -> 8",
        '~ input["a"].dims: [ 4 ] -> [ 4, -1 ]',
        '~ parameters["k"].string_value: "v" -> "w"',
        "- response_cache: { }",
        '+ input["z"].name: "z"',
        '+ input["z"].dims: [ 2 ]',
        "+ dynamic_batching: { }",
    ]


def test_layout_and_order_mean_nothing():
    shuffled = """# a comment
    parameters { value { string_value: 'v' } key: 'k' } response_cache {}
    input { name: "a" dims: 4 data_type: 11 } input { dims: 1 name: "b" }
    max_batch_size: 0x4 name: "m"
    """

    assert said(OLD, shuffled) == []


def test_items_without_names_are_named_by_their_number():
    old = "instance_group [ { count: 1 }, { count: 2 } ]"
    new = "instance_group [ { count: 1 }, { count: 3 } ]"

    assert said(old, new) == ["~ instance_group[1].count: 2 -> 3"]


def write(root, **models):
    for name, config in models.items():
        (root / name).mkdir(parents=True)
        (root / name / "config.pbtxt").write_text(config)
    return root


def test_diff_compares_repositories_models_and_files(kit, tmp_path):
    old = write(tmp_path / "old", m="max_batch_size: 1", gone="")
    new = write(tmp_path / "new", m="max_batch_size: 2", here="")

    repositories = kit("diff", old, new)
    models = kit("diff", old / "m", new / "m")
    files = kit("diff", "--json", old / "m" / "config.pbtxt", new / "m")
    same = kit("diff", old, old)

    assert repositories.exit_code == 1
    assert repositories.output.splitlines() == [
        "- gone: a model",
        "+ here: a model",
        "~ m max_batch_size: 1 -> 2",
    ]
    assert models.output == "~ max_batch_size: 1 -> 2\n"
    assert json.loads(files.output) == [
        {"model": "", "field": "max_batch_size", "before": "1", "after": "2"}
    ]
    assert (same.exit_code, same.output) == (0, "")


def test_diff_of_what_cannot_be_compared_is_an_error(kit, tmp_path):
    root = write(tmp_path / "r", m="")

    assert "cannot be compared" in kit("diff", root, root / "m").output
    assert "no such file" in kit("diff", root, tmp_path / "none").output


def test_diff_of_model_files_says_what_it_compares(kit, tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08:\x02\x00")

    result = kit("diff", tmp_path / "m.onnx", tmp_path / "m.onnx")

    assert result.exit_code == RepositoryError.exit_code
    assert "expected a config, found no text" in result.output
    assert "configs, models' folders and repositories" in result.output


def test_a_config_as_json_is_compared_as_well(kit, tmp_path):
    (tmp_path / "a.pbtxt").write_text("max_batch_size: 4")
    (tmp_path / "b.json").write_text('{"max_batch_size": 8}')

    result = kit("diff", tmp_path / "a.pbtxt", tmp_path / "b.json")

    assert result.output == "~ max_batch_size: 4 -> 8\n"
