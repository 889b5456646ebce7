"""The onnxruntime backend's rules for inputs: counts, ragged, optional, sequences.

Each row of the table in docs/validation.md ("ONNX models") is a case here, by its id.
"""

import re
from pathlib import Path

import pytest

from onnx_builders import BOOL, INT32, INT64, onnx_bytes
from triton_kit import check_repository

ROOT = Path(__file__).parents[3]

X = 'input [ { name: "x" data_type: TYPE_FP32 dims: [ 3 ] } ]\n'
Y = 'output [ { name: "y" data_type: TYPE_FP32 dims: [ 10 ] } ]\n'
START = (
    'control_input [ { name: "START" control [ { kind: CONTROL_SEQUENCE_START '
    "int32_false_true: [ 0, 1 ] } ] } ]"
)
CORRID = (
    'control_input [ { name: "ID" control [ { kind: CONTROL_SEQUENCE_CORRID '
    "data_type: TYPE_UINT64 } ] } ]"
)
STATE = (
    'state [ { input_name: "s" output_name: "t" data_type: TYPE_FP32 dims: [ 2 ] } ]'
)
BATCHED_X, BATCHED_Y = {"x": ["n", 3]}, {"y": ["n", 10]}
STATE_X, STATE_Y = {"x": ["n", 3], "s": ["n", 2]}, {"y": ["n", 10], "t": ["n", 2]}


def config(*parts, batch=8):
    return "\n".join(['backend: "onnxruntime"', f"max_batch_size: {batch}", *parts])


def sequence(*parts):
    return f"sequence_batching {{ {' '.join(parts)} }}"


def batch_input(target="n", kind="TYPE_FP32", source="x"):
    return (
        "batch_input [ { kind: BATCH_ACCUMULATED_ELEMENT_COUNT target_name: "
        f'"{target}" data_type: {kind} source_input: "{source}" }} ]'
    )


def ragged(dims="[ -1 ]", more=""):
    return (
        f'input [ {{ name: "x" data_type: TYPE_FP32 dims: {dims} '
        f"allow_ragged_batch: true {more} }} ]"
    )


ONE = 'output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } } ]'
OPTIONAL = X.replace("} ]", "optional: true } ]")
WITH_W = X.replace(
    "} ]", '}, { name: "w" data_type: TYPE_FP32 dims: [ 2 ] optional: true } ]'
)

# id -> (config, file, rule or None, part of the message)
CASES = {
    # counts
    "inputs are counted": (config(X, Y), (BATCHED_X, BATCHED_Y), None, ""),
    "an input is missing": (
        config(X, Y),
        ({**BATCHED_X, "w": ["n", 1]}, BATCHED_Y),
        "M7",
        "lacks inputs of the model file: w",
    ),
    "a batch input is counted": (
        config(X, Y, batch_input()),
        ({**BATCHED_X, "n": ["k"]}, BATCHED_Y),
        None,
        "",
    ),
    "a batch input is no input of the file": (
        config(X, Y, batch_input("m")),
        ({**BATCHED_X, "n": ["k"]}, BATCHED_Y),
        "M20",
        "no input 'm'",
    ),
    "a batch input has another type": (
        config(X, Y, batch_input(kind="TYPE_INT32")),
        ({**BATCHED_X, "n": ["k"]}, BATCHED_Y),
        "M20",
        "TYPE_FP32 in the model file",
    ),
    # ragged
    "ragged as documented": (
        config(ragged(), ONE, batch_input(), batch=16),
        ({"x": ["a"], "n": ["b"]}, {"y": ["c"]}),
        None,
        "",
    ),
    "ragged keeps the batch axis": (
        config(ragged(), Y),
        ({"x": ["n", "k"]}, BATCHED_Y),
        "M18",
        "it as one axis of any size, [-1], and has [-1,-1]",
    ),
    "ragged of a fixed size": (
        config(ragged(), Y),
        ({"x": [4]}, BATCHED_Y),
        "M18",
        "has [4]",
    ),
    "ragged and optional": (
        config(ragged(more="optional: true"), Y, batch=0).replace(
            "[ 10 ]", "[ -1, 10 ]"
        ),
        ({"x": ["n"]}, BATCHED_Y, {"x"}),
        "M18",
        "not supported for optional input",
    ),
    # optional
    "optional initialiser without batches": (
        config(WITH_W, Y, batch=0)
        .replace("[ 3 ]", "[ -1, 3 ]")
        .replace("10", "-1, 10"),
        ({**BATCHED_X, "w": [2]}, BATCHED_Y, {"w"}),
        None,
        "",
    ),
    "optional in a batching model": (
        config(WITH_W, Y),
        ({**BATCHED_X, "w": [2]}, BATCHED_Y, {"w"}),
        "M19",
        "not supported for models that support batching",
    ),
    "optional without a default in the file": (
        config(OPTIONAL, Y, batch=0)
        .replace("[ 3 ]", "[ -1, 3 ]")
        .replace("10", "-1, 10"),
        (BATCHED_X, BATCHED_Y),
        "M7",
        "no default for the optional input x",
    ),
    "an initialiser that is not marked optional": (
        config(WITH_W.replace("optional: true", ""), Y, batch=0)
        .replace("[ 3 ]", "[ -1, 3 ]")
        .replace("10", "-1, 10"),
        ({**BATCHED_X, "w": [2]}, BATCHED_Y, {"w"}),
        "M7",
        "has a default for w",
    ),
    # controls
    "a control is counted": (
        config(X, Y, sequence(START)),
        ({**BATCHED_X, "START": (INT32, ["n", 1])}, BATCHED_Y),
        None,
        "",
    ),
    "a control in `input` as well": (
        config(
            X.replace(
                "} ]", '}, { name: "START" data_type: TYPE_INT32 dims: [ 1 ] } ]'
            ),
            Y,
            sequence(START),
        ),
        ({**BATCHED_X, "START": (INT32, ["n", 1])}, BATCHED_Y),
        "M7",
        "'START' is a sequence control, which the server fills in",
    ),
    "a control that the file lacks": (
        config(X, Y, sequence(START)),
        (BATCHED_X, BATCHED_Y),
        "M12",
        "does not provide that input",
    ),
    "a control of another shape": (
        config(X, Y, sequence(START)),
        ({**BATCHED_X, "START": (INT32, ["n", 2])}, BATCHED_Y),
        "M13",
        "has dims [2] but dims [1] is expected",
    ),
    "a control without the batch axis": (
        config(X, Y, sequence(START)),
        ({**BATCHED_X, "START": (INT32, [1])}, BATCHED_Y),
        "M13",
        "has dims []",
    ),
    "a control without batches": (
        config(X, Y, sequence(START), batch=0)
        .replace("[ 3 ]", "[ -1, 3 ]")
        .replace("[ 10 ]", "[ -1, 10 ]"),
        ({**BATCHED_X, "START": (INT32, [1])}, BATCHED_Y),
        None,
        "",
    ),
    "a control of another type": (
        config(X, Y, sequence(START)),
        ({**BATCHED_X, "START": (BOOL, ["n", 1])}, BATCHED_Y),
        "M14",
        "specifies data-type TYPE_INT32",
    ),
    "a correlation id of another type": (
        config(X, Y, sequence(CORRID)),
        ({**BATCHED_X, "ID": (INT64, ["n", 1])}, BATCHED_Y),
        "M14",
        "specifies data-type TYPE_UINT64",
    ),
    # states
    "a state is counted": (
        config(X, Y, sequence(STATE)),
        (STATE_X, STATE_Y),
        None,
        "",
    ),
    "a state in `input` as well": (
        config(
            X.replace("} ]", '}, { name: "s" data_type: TYPE_FP32 dims: [ 2 ] } ]'),
            Y,
            sequence(STATE),
        ),
        (STATE_X, STATE_Y),
        "M7",
        "'s' is a state",
    ),
    "a state in `output` as well": (
        config(
            X,
            Y.replace("} ]", '}, { name: "t" data_type: TYPE_FP32 dims: [ 2 ] } ]'),
            sequence(STATE),
        ),
        (STATE_X, STATE_Y),
        None,
        "",
    ),
    "a state's input that the file lacks": (
        config(X, Y, sequence(STATE)),
        ({**BATCHED_X, "z": ["n", 2]}, STATE_Y),
        "M15",
        "no input 's'",
    ),
    "a state's output that the file lacks": (
        config(X, Y, sequence(STATE)),
        (STATE_X, BATCHED_Y),
        "M15",
        "no output 't'",
    ),
    "a state's input of another type": (
        config(X, Y, sequence(STATE)),
        ({**BATCHED_X, "s": (INT64, ["n", 2])}, STATE_Y),
        "M16",
        "'s' is TYPE_INT64",
    ),
    "a state's output of another type": (
        config(X, Y, sequence(STATE)),
        (STATE_X, {**BATCHED_Y, "t": (INT64, ["n", 2])}),
        "M16",
        "'t' is TYPE_INT64",
    ),
    "a state of another shape": (
        config(X, Y, sequence(STATE)),
        ({**BATCHED_X, "s": ["n", 3]}, STATE_Y),
        "M17",
        "has shape [-1,3] in the model file, and [-1,2] here",
    ),
    "a state without the batch axis": (
        config(X, Y, sequence(STATE)),
        ({**BATCHED_X, "s": [1, 2]}, STATE_Y),
        "M17",
        "has shape [1,2]",
    ),
    # completion
    "outputs only, batched by the backend": (
        'backend: "onnxruntime"\n' + Y,
        (BATCHED_X, BATCHED_Y),
        None,
        "",
    ),
    "outputs only, with the batch axis in dims": (
        'backend: "onnxruntime"\n' + Y.replace("[ 10 ]", "[ -1, 10 ]"),
        (BATCHED_X, BATCHED_Y),
        "M9",
        "[-1,10] in the model file, and [-1,-1,10] here",
    ),
    "outputs only, of a fixed graph without its first axis": (
        'backend: "onnxruntime"\n' + Y,
        ({"x": [1, 3]}, {"y": [1, 10]}),
        "M9",
        "[1,10] in the model file",
    ),
    "outputs only, of a fixed graph": (
        'backend: "onnxruntime"\n' + Y.replace("[ 10 ]", "[ 1, 10 ]"),
        ({"x": [1, 3]}, {"y": [1, 10]}),
        None,
        "",
    ),
    "inputs only, batched by the backend": (
        'backend: "onnxruntime"\n' + X,
        (BATCHED_X, BATCHED_Y),
        None,
        "",
    ),
    "a batch that the graph does not have": (
        config(Y),
        ({"x": [1, 3]}, BATCHED_Y),
        "M10",
        "a fixed first axis of 1",
    ),
    "controls with `input` left to the backend": (
        config(Y, sequence(START)),
        ({**BATCHED_X, "START": (INT32, ["n", 1])}, BATCHED_Y),
        "M7",
        "the backend completes `input` with every input",
    ),
    "one value per request, completed": (
        'backend: "onnxruntime"\nmax_batch_size: 4',
        ({"x": ["n"]}, {"y": ["n"]}),
        None,
        "",
    ),
    # shapes
    "a scalar input": (
        config(X.replace("[ 3 ]", "[ 1 ]"), Y),
        ({"x": []}, BATCHED_Y),
        None,
        "",
    ),
    "a scalar input with dims": (config(X, Y), ({"x": []}, BATCHED_Y), "M11", "scalar"),
    "another type": (
        config(X, Y),
        ({"x": (INT64, ["n", 3])}, BATCHED_Y),
        "M8",
        "TYPE_INT64 in the model file",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_model_file_gets_the_verdict_of_the_cpp_backend(name, tmp_path):
    text, tensors, rule, words = CASES[name]
    inputs, outputs, *defaults = tensors
    (tmp_path / "m" / "1").mkdir(parents=True)
    model = onnx_bytes(inputs, outputs, defaults=defaults[0] if defaults else ())
    (tmp_path / "m" / "1" / "model.onnx").write_bytes(model)
    (tmp_path / "m" / "config.pbtxt").write_text(text)

    report = check_repository(tmp_path)

    if rule is None:
        assert report.errors == ()
    else:
        assert report.reason("m").rule == rule
        assert words in report.reason("m").message
        assert report.reason("m").hint


def test_the_strict_server_completes_no_inputs(tmp_path):
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "model.onnx").write_bytes(onnx_bytes(BATCHED_X, BATCHED_Y))
    (tmp_path / "m" / "config.pbtxt").write_text(config(Y))

    assert check_repository(tmp_path).accepted
    assert check_repository(tmp_path, strict=True).reason("m").rule == "M7"


def test_initialisers_of_old_files_are_no_inputs(tmp_path):
    """Before format version 4 every initialiser had to be listed as input."""
    (tmp_path / "m" / "1").mkdir(parents=True)
    old = onnx_bytes({**BATCHED_X, "w": [2]}, BATCHED_Y, defaults={"w"}, ir_version=3)
    (tmp_path / "m" / "1" / "model.onnx").write_bytes(old)
    (tmp_path / "m" / "config.pbtxt").write_text(config(X, Y))

    assert check_repository(tmp_path).accepted


def test_the_table_in_the_docs_lists_these_cases():
    text = (ROOT / "docs" / "validation.md").read_text()
    part = text.partition("### ONNX models")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| ([^|]+?) +\|", part, re.MULTILINE)

    assert {name for name in listed if name in CASES} == set(CASES)
