"""Shapes into the largest request: never less than what a client may send."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triton_kit.launch import with_request_limit
from triton_kit.repository.check.request_size import largest_request_bytes
from triton_kit.repository.check.target import Target
from triton_kit.serving.access import Access
from triton_kit.serving.spec import ServeSpec
from triton_kit.triton.releases import find_release

NEW = find_release("26.06")
LONGEST = {
    "FP64": -2.2250738585072014e-308,
    "FP32": float(-np.nextafter(np.float32(1.1754944e-38), np.float32(1))),
    "FP16": -5.960464477539063e-08,
    "INT64": -(2**63),
    "UINT64": 2**64 - 1,
    "UINT8": 255,
    "INT8": -128,
    "BOOL": False,
}


def write_model(
    repository, *inputs, batch=8, name="m", code="class TritonPythonModel: ..."
):
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(code)
    texts = [
        f'input {{ name: "x{n}" data_type: TYPE_{kind} dims: {json.dumps(dims)} }}'
        for n, (kind, dims) in enumerate(inputs)
    ]
    config = [
        'backend: "python"',
        f"max_batch_size: {batch}",
        *texts,
        'output { name: "y" data_type: TYPE_FP32 dims: [ 1 ] }',
    ]
    (repository / name / "config.pbtxt").write_text("\n".join(config))
    return repository


def limit(repository, **fields):
    spec = ServeSpec(repository=repository, **fields)
    return with_request_limit(spec, NEW).access.models_request_bytes


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(LONGEST)),
            st.lists(st.integers(1, 4), min_size=1, max_size=4),
        ),
        min_size=1,
        max_size=3,
    ),
    st.integers(0, 8),
)
@settings(max_examples=40, deadline=None)
def test_the_longest_json_of_the_largest_batch_fits(tmp_path_factory, inputs, batch):
    repository = write_model(tmp_path_factory.mktemp("r"), *inputs, batch=batch)
    documents = []
    for number, (kind, dims) in enumerate(inputs):
        shape = [batch, *dims] if batch else dims
        data = np.full(shape, LONGEST[kind], object).tolist()
        entry = {"name": f"x{number}", "datatype": kind, "shape": shape, "data": data}
        documents.append(entry)

    assert limit(repository) >= len(json.dumps({"inputs": documents}))


def test_large_inputs_raise_the_limit_above_tritons(tmp_path):
    repository = write_model(tmp_path, ("FP32", [3, 1024, 1024]), batch=32)

    assert limit(repository) > 32 * 3 * 1024 * 1024 * 4 > 64 << 20


def test_the_largest_model_counts(tmp_path):
    write_model(tmp_path, ("UINT8", [1]))
    write_model(tmp_path, ("UINT8", [1000, 1000]), name="large")

    assert limit(tmp_path) > 8_000_000


@pytest.mark.parametrize(
    "inputs",
    [
        [("FP32", [-1])],
        [("STRING", [1])],
        [("INVALID", [1])],
        [("FP32", [4]), ("FP32", [2, -1])],
    ],
    ids=["axis", "string", "invalid", "second"],
)
def test_requests_of_any_size_leave_tritons_limit(tmp_path, inputs):
    write_model(tmp_path, ("UINT8", [1]), name="fixed")

    assert limit(write_model(tmp_path, *inputs)) is None


def test_a_model_that_completes_its_config_leaves_tritons_limit(tmp_path):
    code = "class TritonPythonModel:\n    def auto_complete_config(config): ...\n"
    write_model(tmp_path, ("FP32", [4]), code=code)

    assert limit(tmp_path) is None
    assert limit(tmp_path, strict_model_config=True) is not None


def test_models_that_are_loaded_later_leave_tritons_limit(tmp_path):
    repository = write_model(tmp_path, ("FP32", [4]))

    assert limit(repository, model_control="explicit", models=("m",)) is None
    assert limit(repository, access=Access(max_request_bytes=9)) is None


def test_no_inputs_have_no_size(tmp_path):
    (tmp_path / "empty" / "1").mkdir(parents=True)

    found = largest_request_bytes([tmp_path], ["empty"], Target(server="26.06"))

    assert found is None


@pytest.mark.parametrize(("name", "has_flag"), [("24.10", False), ("26.06", True)])
def test_the_limit_is_in_the_command_where_the_release_has_it(
    kit, tmp_path, name, has_flag
):
    repository = write_model(tmp_path / "models", ("FP32", [4]))
    words = ("serve", repository, "--launcher", "docker", "--print", "--release", name)
    given = ("--http-max-input-size", 12345)
    out = ("--to", "compose", "-o", tmp_path / "out")

    shown = kit(*words).stdout
    assert kit("deploy", repository, "--release", name, *out).exit_code == 0

    text = (tmp_path / "out" / "compose.yaml").read_text()
    for commands in (shown, text):
        assert ("--http-max-input-size=" in commands) == has_flag
    if has_flag:
        assert "--http-max-input-size=12345" in kit(*words, *given).stdout
