"""Ensembles as pictures."""

import pytest

ENSEMBLE = """
platform: "ensemble"
input [ { name: "png" data_type: TYPE_UINT8 dims: [ -1 ] } ]
output [ { name: "scores" data_type: TYPE_FP32 dims: [ 10 ] } ]
ensemble_scheduling { step [
  { model_name: "decode" model_version: -1 input_map { key: "a" value: "png" }
    output_map { key: "b" value: "image" } },
  { model_name: "digits" model_version: -1 input_map { key: "x" value: "image" }
    input_map { key: "m" value: "mask" } output_map { key: "y" value: "scores" } }
] }
"""


@pytest.fixture
def repository(tmp_path):
    for name, config in {"read": ENSEMBLE, "decode": 'backend: "python"'}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.pbtxt").write_text(config)
    return tmp_path


def test_text_lists_steps_and_what_flows_between_them(kit, repository):
    assert kit("graph", repository).output == (
        "read\n"
        "  input   png UINT8 [-1]\n"
        "  step 1  decode: png -> image\n"
        "  step 2  digits: image -> scores\n"
        "  output  scores FP32 [10]\n"
        "  not written: mask\n"
    )


def test_mermaid_has_a_node_a_step_and_an_edge_a_tensor(kit, repository):
    lines = kit("graph", repository, "read", "--format", "mermaid").output.splitlines()

    assert lines[0] == "flowchart LR"
    assert '    g0s2["digits"]' in lines
    assert '  g0s1 -->|"image"| g0s2' in lines
    assert '  g0input -->|"png"| g0s1' in lines
    assert '  g0s2 -->|"scores"| g0output' in lines


def test_dot_is_one_digraph(kit, repository):
    text = kit("graph", repository, "--format", "dot").output

    assert text.startswith("digraph repository {")
    assert '  g0s1 -> g0s2 [label="image"];' in text
    assert text.count("{") == text.count("}")


def test_calls_of_python_models_are_drawn(kit, repository):
    calls = (
        'parameters [ {{ key: "triton_kit.calls" value {{ string_value: "{}" }} }} ]'
    )
    config = (
        'backend: "python"\ninput [ { name: "t" data_type: TYPE_STRING dims: [ 1 ] } ]'
    )
    (repository / "decode" / "config.pbtxt").write_text(calls.format("digits,table"))
    (repository / "ask").mkdir()
    (repository / "ask" / "config.pbtxt").write_text(config + calls.format("read"))

    text = kit("graph", repository).output
    mermaid = kit("graph", repository, "--format", "mermaid").output.splitlines()
    dot = kit("graph", repository, "ask", "--format", "dot").output

    assert "  step 1  decode: png -> image\n          calls digits, table\n" in text
    assert (
        "ask\n  input   t STRING [1]\n  step 1  ask: t -> \n          calls read"
        in text
    )
    assert '  g0s1 -.->|calls| g0s2["digits"]' in mermaid
    assert '  g0s1 -.->|calls| g0c1["table"]' in mermaid
    assert "  g0s1 -> g0c1 [style=dashed label=calls];" in dot
    assert kit("graph", repository, "decode").output.startswith("decode\n")


def test_an_unknown_ensemble_gets_the_nearest_name(kit, repository):
    result = kit("graph", repository, "raed")

    assert result.exit_code == 7
    assert "did you mean 'read'?" in result.output


def test_a_folder_that_is_no_repository_is_refused(kit, tmp_path):
    result = kit("graph", tmp_path)

    assert result.exit_code == 7
    assert "expected a model repository" in result.output


def test_a_drawing_can_go_to_a_file(kit, tmp_path):
    (tmp_path / "r" / "m").mkdir(parents=True)
    (tmp_path / "r" / "m" / "config.pbtxt").write_text('backend: "identity"')

    result = kit("graph", tmp_path / "r", "--format", "dot", "-o", tmp_path / "g.dot")

    assert result.exit_code == 0, result.output
    assert "has no ensemble" in result.stderr
    assert (tmp_path / "g.dot").read_text().startswith("digraph repository")
