import base64
import json
from dataclasses import replace

import numpy as np
import pytest

from triton_kit.errors import SpecError
from triton_kit.loadtest.client.check import OutputCheck
from triton_kit.loadtest.inputs.choice import choose, steps_from_files
from triton_kit.loadtest.inputs.documents import exact_array, steps_from_document
from triton_kit.loadtest.inputs.draws import StringData
from triton_kit.loadtest.inputs.steps import InputStep, batches
from triton_kit.loadtest.request import Request
from triton_kit.tensors import Tensor, data_type
from triton_kit.triton.model import ModelInfo
from triton_kit.triton.tensor_bytes import from_bytes, to_bytes


def tensor(name, dtype, *shape):
    return Tensor(name=name, dtype=data_type(dtype), shape=shape)


MODEL = ModelInfo(
    name="m",
    version="1",
    max_batch_size=8,
    inputs=(tensor("x", "FP32", 2), tensor("s", "BYTES", -1)),
    outputs=(tensor("y", "INT64", 1),),
)


def written(folder, document):
    path = folder / "data.json"
    path.write_text(json.dumps(document))
    return str(path)


def read(*sources, **shapes):
    return steps_from_files(choose(sources, MODEL, StringData()), MODEL, shapes)


def test_json_holds_values_shapes_and_base64(tmp_path):
    raw = base64.b64encode(np.array([5, 6], np.float32).tobytes()).decode()
    steps = read(
        written(
            tmp_path,
            {
                "data": [
                    {"x": [1, 2], "s": ["a", "bc"]},
                    {"x": {"content": [3, 4]}, "s": {"content": ["d"], "shape": [1]}},
                    {"x": {"b64": raw}, "s": ["e"]},
                ]
            },
        )
    )

    assert [list(step.inputs["x"]) for step in steps] == [[1, 2], [3, 4], [5, 6]]
    assert [list(step.inputs["s"]) for step in steps] == [[b"a", b"bc"], [b"d"], [b"e"]]


def test_streams_in_json_are_kept_apart(tmp_path):
    step = {"x": [1, 2], "s": ["a"]}

    steps = read(written(tmp_path, {"data": [[step, step], [step]]}))

    assert [step.stream for step in steps] == [0, 0, 1]


def test_files_of_json_are_read_one_after_another(tmp_path):
    step = {"x": [1, 2], "s": ["a"]}
    paths = []
    for name, data in (("a", [[step], [step]]), ("b", [step, step])):
        (tmp_path / name).mkdir()
        paths.append(written(tmp_path / name, {"data": data}))

    steps = read(*paths)

    assert [step.stream for step in steps] == [0, 1, 2, 2]


def test_expected_outputs_come_from_validation_data(tmp_path):
    data = {"data": [{"x": [1, 2], "s": ["a"]}], "validation_data": [{"y": [7]}]}

    [step] = read(written(tmp_path, data))

    assert step.expected["y"].tolist() == [7]


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ([], "no list named 'data'"),
        ({"data": 5}, "no list named 'data'"),
        ({"data": []}, "no data"),
        ({"data": [5]}, "not an object"),
        ({"data": [{"x": [1, 2]}]}, "no value for the input 's'"),
        ({"data": [{"x": [1], "s": ["a"]}]}, "1 values"),
        ({"data": [{"x": ["a", "b"], "s": ["a"]}]}, "not FP32"),
        ({"data": [{"x": {"b64": "??"}, "s": ["a"]}]}, "not base64"),
        ({"data": [{"x": {"b64": "\u00c7"}, "s": ["a"]}]}, "not base64"),
        ({"data": [{"x": {"b64": "AAA="}, "s": ["a"]}]}, "step 0: x"),
        ({"data": [{"x": [1, 2], "t": ["a"]}]}, "unknown tensor 't'"),
        ({"data": [{"x": {"content": [1, 2], "shape": [3]}}]}, "the model says"),
        (
            {"data": [{"x": [1, 2], "s": ["a"]}], "validation_data": [{}, {}]},
            "1 steps, but validation_data for 2",
        ),
        (
            {
                "data": [[{"x": [1, 2], "s": ["a"]}], [{"x": [1, 2], "s": ["a"]}]],
                "validation_data": [{}, {}],
            },
            "in other streams",
        ),
        ({"data": [[{"x": [1, 2], "s": ["a"]}], []]}, "stream 1 has no steps"),
        ({"data": [{"x": [1, None], "s": ["a"]}]}, "step 0: x: null is no FP32"),
        ({"data": [{"x": [1, 2], "s": [None]}]}, "step 0: s: null is no BYTES"),
    ],
)
def test_json_that_does_not_fit_is_refused_with_its_place(
    tmp_path, document, complaint
):
    with pytest.raises(SpecError, match=complaint):
        read(written(tmp_path, document))


@pytest.mark.parametrize("value", [2**32 + 3, 1.5, -(2**63) - 1])
def test_whole_numbers_do_not_change_on_the_way(tmp_path, value):
    model = replace(MODEL, outputs=(tensor("y", "INT32", 1),))
    document = {
        "data": [{"x": [1, 2], "s": ["a"]}],
        "validation_data": [{"y": [value]}],
    }

    with pytest.raises(SpecError, match=r"step 0: y: .*INT32"):
        steps_from_document(document, tmp_path, model, {})


@pytest.mark.parametrize("shape", [1, [-1], [1.5], "2", None])
def test_a_shape_that_is_none_is_refused(tmp_path, shape):
    step = {"x": [1, 2], "s": {"content": ["a"], "shape": shape}}

    with pytest.raises(SpecError, match="is no list of sizes"):
        read(written(tmp_path, {"data": [step]}))


def test_validation_data_must_be_a_list(tmp_path):
    data = {"data": [{"x": [1, 2], "s": ["a"]}], "validation_data": 3}

    with pytest.raises(SpecError, match="'validation_data' is no list"):
        read(written(tmp_path, data))


def test_a_folder_holds_a_file_per_input(tmp_path):
    (tmp_path / "x").write_bytes(np.array([1, 2], np.float32).tobytes())
    (tmp_path / "s").write_text("hello\nworld\n")

    [step] = read(str(tmp_path), s=(2,))

    assert step.inputs["x"].tolist() == [1, 2]
    assert list(step.inputs["s"]) == [b"hello", b"world"]


@pytest.mark.parametrize(("shape", "values"), [((1,), [7]), ((-1, 2), [[7, 8]])])
def test_a_folder_may_hold_expected_responses(tmp_path, shape, values):
    model = replace(MODEL, outputs=(tensor("y", "INT64", *shape),))
    (tmp_path / "x").write_bytes(bytes(8))
    (tmp_path / "s").write_text("a")
    (tmp_path / "y").write_bytes(np.array(values, np.int64).tobytes())

    choice = choose([str(tmp_path)], model, StringData())
    [step] = steps_from_files(choice, model, {"s": (1,)})

    assert step.expected["y"].tolist() == values


@pytest.mark.parametrize("size", [4, 12])
def test_a_file_of_the_wrong_size_is_refused(tmp_path, size):
    (tmp_path / "x").write_bytes(bytes(size))
    (tmp_path / "s").write_text("a")

    with pytest.raises(SpecError, match="holds 2"):
        read(str(tmp_path), s=(1,))


@pytest.mark.parametrize("name", ["absent.json", "absent.npz", "zeroes"])
def test_data_that_is_not_there_is_refused(tmp_path, name):
    with pytest.raises(SpecError, match="no such file"):
        read(str(tmp_path / name))


@pytest.mark.parametrize("name", ["data.json", "data.npz"])
def test_data_that_is_garbage_is_refused(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"\x00garbage")

    with pytest.raises(SpecError, match="not"):
        read(str(path))


def test_an_npz_counts_its_steps_on_the_first_axis(tmp_path):
    model = ModelInfo(
        name="m",
        version="1",
        max_batch_size=0,
        inputs=(tensor("x", "FP32", 2),),
        outputs=(),
    )
    path = tmp_path / "data.npz"
    np.savez(path, x=np.arange(6, dtype=np.float32).reshape(3, 2))

    steps = steps_from_files(choose([str(path)], model, StringData()), model, {})

    assert [step.inputs["x"].tolist() for step in steps] == [[0, 1], [2, 3], [4, 5]]


def test_steps_fill_batches_and_begin_again():
    steps = [InputStep(inputs={"x": np.array([number])}) for number in range(3)]

    joined = batches(steps, MODEL, 2)

    assert [step.inputs["x"].ravel().tolist() for step in joined] == [[0, 1], [2, 0]]


def test_steps_of_different_streams_share_no_batch():
    steps = [
        InputStep(inputs={"x": np.array([number])}, stream=stream)
        for number, stream in enumerate([0, 0, 0, 1, 1])
    ]

    joined = batches(steps, MODEL, 2)

    numbers = [step.inputs["x"].ravel().tolist() for step in joined]
    assert numbers == [[0, 1], [2, 0], [3, 4]]
    assert [step.stream for step in joined] == [0, 0, 1]


def test_steps_of_different_shapes_cannot_share_a_batch():
    steps = [InputStep(inputs={"x": np.zeros(size)}) for size in (1, 2)]

    with pytest.raises(SpecError, match="different shapes"):
        batches(steps, MODEL, 2)


def test_bytes_are_read_as_they_were_written():
    strings = np.array([b"", b"a", b"bc" * 100], np.object_)

    assert list(
        from_bytes(to_bytes(strings, data_type("BYTES")), data_type("BYTES"))
    ) == (list(strings))


@pytest.mark.parametrize("data", [b"\x05\x00", b"\x05\x00\x00\x00abc"])
def test_half_a_string_is_refused(data):
    with pytest.raises(ValueError, match="string"):
        from_bytes(data, data_type("BYTES"))


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ([1.0, 2.0], None),
        ([1.00001, 2.0], None),
        ([1.1, 2.0], "wrong response"),
        ([1.0], "wrong response"),
        ([1.0, np.nan], "wrong response"),
    ],
)
def test_responses_are_compared_with_expected_ones(found, kind):
    request = Request(b"")
    check = OutputCheck(lambda _answer: {"y": np.array(found)})
    check.expect(request, {"y": np.array([1.0, 2.0])})

    failure = check(request, b"")

    assert (failure.kind if failure else None) == kind


JPEG = b"\xff\xd8\xff\xe0\n\x00\x10JFIF\n" * 3


@pytest.mark.parametrize("shapes", [{}, {"s": (1,)}])
@pytest.mark.parametrize(
    "content", [JPEG, b"RIFF\0\0\0\0WAVE\n\n"], ids=["jpeg", "wav"]
)
def test_a_binary_file_is_one_element(tmp_path, content, shapes):
    image = tmp_path / "cat.jpg"
    image.write_bytes(content)

    [step] = read(f"s:{image}", "x:zero", **shapes)

    assert list(step.inputs["s"]) == [content]


def test_a_binary_file_in_a_folder_is_one_element(tmp_path):
    (tmp_path / "x").write_bytes(bytes(8))
    (tmp_path / "s").write_bytes(JPEG)

    [step] = read(str(tmp_path))

    assert list(step.inputs["s"]) == [JPEG]


@pytest.mark.parametrize(
    ("shape", "elements"),
    [((1,), [b"a prompt\nof two lines\n"]), ((2,), [b"a prompt", b"of two lines"])],
)
def test_a_text_is_one_element_where_one_is_wanted(tmp_path, shape, elements):
    text = tmp_path / "prompt.txt"
    text.write_text("a prompt\nof two lines\n")

    [step] = read(f"s:{text}", "x:zero", s=shape)

    assert list(step.inputs["s"]) == elements


def test_base64_without_lengths_is_refused_with_what_to_do(tmp_path):
    picture = base64.b64encode(JPEG).decode()
    document = {"data": [{"x": [1, 2], "s": {"b64": picture, "shape": [1]}}]}

    with pytest.raises(SpecError, match="base64 without the length") as caught:
        read(written(tmp_path, document))

    assert "--input-data s:FILE" in caught.value.hint


def test_numbers_are_rounded_and_otherwise_exact():
    bf16 = exact_array([[0.1, -2]], data_type("BF16"), "here")

    assert bf16.tolist() == [[0x3DCD, 0xC000]]
    assert exact_array(bf16, data_type("BF16"), "here").tolist() == bf16.tolist()
    assert exact_array([1.0, True], data_type("INT8"), "here").tolist() == [1, 1]


@pytest.mark.parametrize(
    ("values", "dtype", "words"),
    [
        ([1, 300], "INT8", "here: 300 is no INT8"),
        ([2**70], "INT64", "here: not INT64"),
        ([-1], "UINT64", "here: -1 is no UINT64"),
        (np.array([300]), "UINT8", "here: 300 is no UINT8"),
        ([1.5], "INT32", "here: 1.5 is no INT32"),
        ([float("nan")], "INT32", "here: nan is no INT32"),
        ([70_000], "FP16", "here: 70000 is no FP16"),
        ([1e39], "BF16", "no FP32"),
        (["a"], "FP32", "here: not FP32"),
    ],
)
def test_a_number_that_would_change_is_refused(values, dtype, words):
    with pytest.raises(SpecError) as caught:
        exact_array(values, data_type(dtype), "here")

    assert words in caught.value.message
