import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triton_kit.errors import SpecError
from triton_kit.loadtest.inputs.choice import choose
from triton_kit.loadtest.inputs.draws import StringData, value
from triton_kit.loadtest.run.request_source import input_steps
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.tensors import DATA_TYPES, Tensor, data_type
from triton_kit.triton.model import ModelInfo


def tensor(name, dtype, *shape):
    return Tensor(name=name, dtype=data_type(dtype), shape=shape)


MODEL = ModelInfo(
    name="m",
    version="1",
    max_batch_size=8,
    inputs=(
        tensor("ids", "INT32", 3),
        tensor("mask:0", "BOOL", 3),
        tensor("text", "BYTES", 1),
        tensor("scale", "FP16", 1),
    ),
    outputs=(tensor("y", "FP32", 1),),
    optional_inputs=frozenset({"scale"}),
)


def steps_of(*words, model=MODEL, batch_size=1, **changes):
    spec = PerfSpec(
        url="h", model="m", batch_size=batch_size, input_data=words, **changes
    )
    return input_steps(spec, model)


def test_each_input_has_its_own_data_and_the_rest_is_random():
    steps = steps_of("mask:0:zero", "ids:random:1000:1003", "text:hello there")

    assert len(steps) == 16
    for step in steps:
        assert set(step.inputs) == {"ids", "mask:0", "text"}
        assert not step.inputs["mask:0"].any()
        assert ((step.inputs["ids"] >= 1000) & (step.inputs["ids"] < 1003)).all()
        assert step.inputs["text"].tolist() == [[b"hello there"]]
    assert len({step.inputs["ids"].tobytes() for step in steps}) > 1


def test_constant_data_makes_one_request():
    [step] = steps_of("zero", "ids:7", "scale:0.5", batch_size=2)

    assert step.inputs["ids"].tolist() == [[7] * 3] * 2
    assert step.inputs["text"].tolist() == [[b""]] * 2
    assert step.inputs["scale"].dtype == np.float16
    assert step.inputs["scale"].tolist() == [[0.5]] * 2


def test_an_optional_input_is_sent_where_it_is_named():
    assert "scale" not in steps_of("random")[0].inputs
    assert "scale" in steps_of("random", "scale:random")[0].inputs


def test_random_strings_are_as_long_or_as_they_were_asked_for():
    drawn = steps_of("random", string_data=StringData(length=5))
    given_text = steps_of("random", string_data=StringData(text="same"))
    zeros = steps_of("zero", string_data=StringData(text="same"))

    assert {len(step.inputs["text"][0, 0]) for step in drawn} == {5}
    assert {step.inputs["text"][0, 0] for step in given_text} == {b"same"}
    assert zeros[0].inputs["text"][0, 0] == b""


def test_an_npy_counts_its_steps_or_is_one(tmp_path):
    many, one = tmp_path / "many.npy", tmp_path / "one.npy"
    np.save(many, np.arange(6, dtype=np.int32).reshape(2, 3))
    np.save(one, np.array(["é"]))

    steps = steps_of(f"ids:{many}", f"text:{one}")

    assert [step.inputs["ids"].tolist() for step in steps] == [[[0, 1, 2]], [[3, 4, 5]]]
    assert {step.inputs["text"][0, 0] for step in steps} == {"é".encode()}
    assert all(step.inputs["mask:0"].shape == (1, 3) for step in steps)


def test_a_file_for_one_input_beats_the_data_for_all(tmp_path):
    path, raw = tmp_path / "data.json", tmp_path / "raw"
    step = {"ids": [1, 2, 3], "mask:0": [True, False, True], "text": ["a"]}
    path.write_text(
        json.dumps({"data": [step, step], "validation_data": [{"y": [1]}, {"y": [2]}]})
    )
    raw.write_bytes(np.array([7, 8, 9], np.int32).tobytes())

    steps = steps_of(str(path), f"ids:{raw}", "mask:0:false")

    assert [step.inputs["ids"].tolist() for step in steps] == [[[7, 8, 9]]] * 2
    assert not steps[0].inputs["mask:0"].any()
    assert [step.expected["y"].tolist() for step in steps] == [[[1]], [[2]]]


def test_inputs_of_their_own_may_be_missing_in_the_data_for_all(tmp_path):
    path = tmp_path / "data.json"
    path.write_text(json.dumps({"data": [{"ids": [1, 2, 3], "text": ["a"]}]}))

    [step] = steps_of(str(path), "mask:0:true")

    assert step.inputs["mask:0"].all()


def test_the_shorter_data_begin_again(tmp_path):
    ids, text = tmp_path / "ids.npy", tmp_path / "text.npz"
    np.save(ids, np.arange(9, dtype=np.int32).reshape(3, 3))
    np.savez(text, text=np.array([[b"a"], [b"b"]]))

    steps = steps_of(f"ids:{ids}", f"text:{text}")

    assert [step.inputs["text"][0, 0] for step in steps] == [b"a", b"b", b"a"]


def test_a_path_that_exists_is_for_all_even_where_it_begins_like_an_input(tmp_path):
    name = str(tmp_path / "ids")
    path = tmp_path / "ids:5"
    path.write_text(json.dumps({"data": [{name: [9]}]}))
    model = ModelInfo(
        name="m",
        version="1",
        max_batch_size=0,
        inputs=(tensor(name, "INT32", 1),),
        outputs=(),
    )

    [found] = steps_of(str(path), model=model)

    assert found.inputs[name].tolist() == [9]


def test_the_longest_name_of_an_input_is_meant():
    model = ModelInfo(
        name="m",
        version="1",
        max_batch_size=0,
        inputs=(tensor("a", "BYTES", 1), tensor("a:0", "BYTES", 1)),
        outputs=(),
    )

    [step] = steps_of("zero", "a:0:b", "a:value:random:c", model=model)

    assert step.inputs["a:0"].tolist() == [b"b"]
    assert step.inputs["a"].tolist() == [b"random:c"]


@pytest.mark.parametrize("size", [2**28, 2**62, 10**23])
@pytest.mark.parametrize("word", ["zero", "random"])
def test_an_input_that_no_request_can_hold_is_refused(size, word):
    varies = replace(MODEL, inputs=(tensor("x", "FP32", -1),))

    with pytest.raises(SpecError, match=r"'x' of shape .* takes [0-9,.]+ GiB"):
        steps_of(word, model=varies, shapes={"x": (size,)}, batch_size=4)


def test_a_long_text_is_a_value_and_no_file():
    [step] = steps_of("zero", f"text:{'x' * 5000}")

    assert len(step.inputs["text"][0, 0]) == 5000


@pytest.mark.parametrize(
    ("words", "complaint", "hint"),
    [
        (["isd:zero"], "'m' has no input 'isd'", "did you mean 'ids'?"),
        (["zeroes"], "no such file", "NAME:"),
        (["zero", "random"], "each is for all inputs", "NAME:"),
        (["ids:1", "ids:2"], "says twice what 'ids' gets", None),
        (["ids:0.7"], "'0.7' is no INT32", None),
        (["ids:3000000000"], "does not fit INT32", "2147483647"),
        (["scale:1e9"], "does not fit FP16", None),
        (["scale:high"], "'high' is no FP16", None),
        (["mask:0:perhaps"], "'perhaps' is no BOOL", "true or false"),
        (["ids:random:5:5"], "need LOW < HIGH", None),
        (["scale:random:0:inf"], "both finite", None),
        (["scale:random:nan:1"], "both finite", None),
        (["ids:random:5"], "not of the form ids:random:LOW:HIGH", None),
        (["ids:random:0:5000000000"], "does not fit INT32", None),
        (["text:random:0:5"], "BYTES has no range", "text:value:TEXT"),
        (["ids:tokens.npy"], "no such file", None),
        (["text:images/cat.JPG"], "no such file", "text:value:TEXT"),
        (["ids:"], "no such file", None),
        (["ids:/tmp"], "not the values of one input", "--input-data /tmp"),
    ],
)
def test_words_that_mean_nothing_here_are_refused(words, complaint, hint):
    with pytest.raises(SpecError) as caught:
        steps_of(*words)

    assert complaint in caught.value.message
    assert hint is None or hint in caught.value.hint


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        (np.zeros((2, 3)), "is float64, the model takes INT32"),
        (np.zeros((2, 4), np.int32), r"shape \[4\], the model says \[3\]"),
        (np.zeros((0, 3), np.int32), "no data in it"),
        (np.array(3, np.int32), r"shape \[\]"),
    ],
)
def test_an_npy_that_does_not_fit_is_refused(tmp_path, array, complaint):
    path = tmp_path / "ids.npy"
    np.save(path, array)

    with pytest.raises(SpecError, match=complaint):
        steps_of(f"ids:{path}")


HUGE = b"{'descr': '<i4', 'fortran_order': False, 'shape': (9999999999999, 3), }\n"


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"garbage",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x01\x00" + len(HUGE).to_bytes(2, "little") + HUGE,
    ],
)
def test_an_npy_that_is_none_is_refused(tmp_path, garbage):
    path = tmp_path / "ids.npy"
    path.write_bytes(garbage)

    with pytest.raises(SpecError, match=r"ids\.npy: not an \.npy"):
        steps_of(f"ids:{path}")


def test_python_objects_in_an_npy_are_not_read(tmp_path):
    path = tmp_path / "text.npy"
    np.save(path, np.array([b"a", None], object), allow_pickle=True)

    with pytest.raises(SpecError, match=r"not an \.npy of plain values"):
        steps_of(f"text:{path}")


def test_one_npy_for_many_inputs_asks_for_whose_it_is(tmp_path):
    path = tmp_path / "ids.npy"
    np.save(path, np.zeros((1, 3), np.int32))

    with pytest.raises(SpecError, match="one array, but 'm' needs the inputs ids, "):
        steps_of(str(path))


def test_a_negative_string_length_is_refused():
    with pytest.raises(SpecError, match="string length -1"):
        StringData(length=-1)


@pytest.mark.parametrize("dtype", DATA_TYPES, ids=lambda dtype: dtype.name)
def test_a_value_fills_a_tensor_of_any_type(dtype):
    draw = value(Tensor(name="x", dtype=dtype, shape=(2,)), "1", "here")

    array = draw((2, 2), np.random.default_rng(0))

    assert array.shape == (2, 2)
    assert array.dtype == np.dtype(dtype.numpy)
    expected = {"BYTES": b"1", "BF16": 0x3F80}.get(dtype.name, 1)
    assert (array == expected).all()


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_bf16_is_the_nearest_there_is(real):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    bfloat16 = Tensor(name="x", dtype=data_type("BF16"), shape=(1,))

    word = value(bfloat16, repr(real), "here")((1,), np.random.default_rng(0))

    with np.errstate(over="ignore"):
        expected = np.array([real], np.float32).astype(ml_dtypes.bfloat16)
    assert word.tobytes() == expected.tobytes()


@given(low=st.integers(-128, 127), span=st.integers(1, 256), seed=st.integers(0, 2**32))
def test_a_range_holds_its_start_and_not_its_end(low, span, seed):
    end = min(low + span, 128)
    model = ModelInfo(
        name="m",
        version="1",
        max_batch_size=0,
        inputs=(tensor("x", "INT8", 100),),
        outputs=(),
    )
    choice = choose([f"x:random:{low}:{end}"], model, StringData())

    array = choice.draws["x"]((100,), np.random.default_rng(seed))

    assert array.dtype == np.int8
    assert array.min() >= low
    assert array.max() < end


def test_half_a_character_is_text_in_no_encoding(tmp_path):
    path = tmp_path / "text.npy"
    np.save(path, np.array(["\ud800"]))

    with pytest.raises(SpecError, match="not all text"):
        steps_of(f"text:{path}")


def test_bytes_of_the_command_line_reach_the_model_as_they_are():
    # This is how Python spells a byte of an argument that is no UTF-8.
    [step] = steps_of("zero", "text:\udcff")

    assert step.inputs["text"].tolist() == [[b"\xff"]]


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "ids:", "text:", "mask:0:"]), st.text())
        | st.sampled_from([("ids:random:", "0:1"), ("", "zero"), ("ids:", "-1")]),
        max_size=3,
    )
)
def test_any_words_are_a_choice_or_an_error_for_the_user(parts):
    words = [start + end for start, end in parts]

    try:
        choice = choose(words, MODEL, StringData())
    except SpecError:
        return

    settled = {*choice.draws, *choice.files}
    assert choice.paths or {"ids", "mask:0", "text"} <= settled
