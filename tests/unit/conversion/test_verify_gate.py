"""The accuracy gate, tried on artifacts that are wrong in every known way."""

from functools import partial

import numpy as np
import onnx
import pytest
from convert_networks import Builder, T, saved
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import helper as h

from triton_kit.artifact import inspect_onnx
from triton_kit.conversion.shapes import full_profiles
from triton_kit.conversion.verify.compare import (
    Tally,
    equal_rows,
    missed,
    rows_differ_db,
    tally,
)
from triton_kit.conversion.verify.gate import make_reference, verify
from triton_kit.conversion.verify.inputs import make_inputs, write_inputs
from triton_kit.conversion.verify.own_noise import OwnNoise, has_random_nodes
from triton_kit.conversion.workers.models import run_onnx
from triton_kit.errors import VerifyError
from triton_kit.options.conversion import Gate
from triton_kit.options.shapes import ShapeRange

SHAPES = {"x": ShapeRange(min=(1, 6), opt=(8, 6), max=(16, 6))}
VALUES = arrays.arrays(
    np.float32, (4, 5), elements=st.floats(-100, 100, width=32, allow_subnormal=False)
)


def model_of(build, *, to=T.FLOAT, shape=("n", 6)):
    b = Builder()
    build(b)
    return b.model([("x", T.FLOAT, ["n", 6])], [("y", to, list(shape))])


def gate(tmp_path, original, candidate, precision="fp32", **limits):
    """Compare one graph with another; return the accuracy, or raise as convert does."""
    source = saved(original, tmp_path / "original.onnx")
    artifact = saved(candidate, tmp_path / "candidate.onnx")
    inputs = inspect_onnx(source).inputs
    profiles = full_profiles((SHAPES,), inputs)
    verification = make_inputs(
        inputs, profiles, samples=None, run_all=False, ranges={}, seed=0
    )
    feeds = write_inputs(verification, tmp_path / "feeds")
    outputs = run_onnx(
        source, feeds, level="off", folder=tmp_path / "outputs", timeout_s=60
    )

    def run_again(inputs):
        return run_onnx(
            source, inputs, level="off", folder=tmp_path / "again", timeout_s=60
        )

    reference = make_reference(
        feeds,
        outputs,
        timeout_s=60,
        data="random",
        noise=OwnNoise(feeds, outputs, run_again, tmp_path / "noisy"),
        is_random=has_random_nodes(original),
        identical_rows=verification[-1].rows,
    )
    return verify(
        artifact,
        onnx.load(artifact),
        reference,
        gate=Gate(**limits),
        precision=precision,
        scratch=tmp_path,
    )


def identity(b):
    b.op("Identity", "x", to="y")


def scaled(factor):
    def build(b):
        b.constant("factor", np.float32(factor))
        b.op("Mul", "x", "factor", to="y")

    return build


def not_a_number(b):
    b.constant("limit", np.float32(1))
    # log of what is not above 0 is NaN or -Inf
    y = b.op("Log", b.op("Sub", "limit", "x"))
    b.op("Sub", "limit", b.op("Exp", y), to="y")


def zero(b):
    return b.constant("zero", np.float32(0))


def few_are_not_a_number(b):
    """NaN throughout for one row, values for more."""
    ones = b.op("Exp", b.op("Mul", "x", zero(b)))
    count = b.op("ReduceSum", ones, keepdims=0)  # six in a row
    over = b.op("Sub", count, b.constant("ten", np.float32(10)))
    b.op("Add", "x", b.op("Log", over), to="y")


def as_double(b):
    b.nodes.append(onnx.helper.make_node("Cast", ["x"], ["y"], to=T.DOUBLE))


def later_rows_off(b):
    """Right for the first row of a batch, off by a quarter for all others."""
    b.constant("axis", np.array(0, np.int64))
    one = b.op("Gather", b.op("Shape", "x"), b.constant("i", np.array([0], np.int64)))
    ones = b.op("Expand", b.constant("one", np.float32(1)), one)
    count = b.op("CumSum", ones, "axis")
    late = b.op("Min", count, b.constant("two", np.float32(2)))
    grown = b.op("Mul", b.op("Sub", late, "one"), b.constant("q", np.float32(0.25)))
    factor = b.op(
        "Unsqueeze",
        b.op("Add", grown, "one"),
        b.constant("last", np.array([1], np.int64)),
    )
    b.op("Mul", "x", factor, to="y")


def test_the_same_graph_passes_with_no_error_at_all(tmp_path):
    accuracy = gate(tmp_path, model_of(identity), model_of(identity))

    assert accuracy.min_snr_db == np.inf
    assert accuracy.max_abs_error == 0
    assert accuracy.top1_agreement == 1
    assert accuracy.runtime_level == "all"


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (model_of(scaled(1.001)), "SNR 60.0 dB"),
        (model_of(scaled(-1)), "SNR -6.0 dB"),
        (model_of(scaled(0)), "SNR 0.0 dB"),
        (model_of(not_a_number), "NaN or Inf in"),
        (model_of(later_rows_off), "SNR"),
        (model_of(as_double, to=T.DOUBLE), "type float64 instead of float32"),
        (
            model_of(
                lambda b: b.op("Transpose", "x", to="y", perm=[1, 0]), shape=(6, "n")
            ),
            "shape",
        ),
    ],
)
def test_a_wrong_artifact_does_not_pass(tmp_path, candidate, words):
    with pytest.raises(VerifyError, match=r"output 'y'") as caught:
        gate(tmp_path, model_of(identity), candidate)

    assert words in caught.value.message


def test_another_output_does_not_pass(tmp_path):
    candidate = model_of(identity)
    candidate.graph.node[0].output[0] = candidate.graph.output[0].name = "z"

    with pytest.raises(VerifyError, match=r"outputs are \['z'\] instead of \['y'\]"):
        gate(tmp_path, model_of(identity), candidate)


def test_outputs_without_a_value_prove_nothing(tmp_path):
    logarithm = model_of(lambda b: b.op("Log", b.op("Mul", "x", zero(b)), to="y"))

    with pytest.raises(VerifyError, match="'y' is NaN or Inf throughout") as caught:
        gate(tmp_path, logarithm, logarithm)

    assert "--verify-data" in caught.value.hint
    assert "--range" in caught.value.hint


def test_outputs_that_are_always_empty_prove_nothing(tmp_path):
    nowhere = model_of(
        lambda b: b.op("NonZero", b.op("Mul", "x", zero(b)), to="y"),
        to=T.INT64,
        shape=(2, "k"),
    )

    with pytest.raises(VerifyError, match="'y' is empty throughout"):
        gate(tmp_path, nowhere, nowhere)


def test_one_output_without_a_value_is_noted_where_others_have_some(tmp_path):
    model = model_of(identity)
    model.graph.node.append(h.make_node("Sub", ["x", "x"], ["nil"]))
    model.graph.node.append(h.make_node("NonZero", ["nil"], ["spots"]))
    model.graph.output.append(h.make_tensor_value_info("spots", T.INT64, [2, "k"]))

    accuracy = gate(tmp_path, model, model)

    assert any("'spots' is empty throughout" in note for note in accuracy.notes)


def test_one_sample_with_a_value_is_enough(tmp_path):
    where_many = model_of(few_are_not_a_number)

    accuracy = gate(tmp_path, where_many, where_many)

    assert not any("throughout" in note for note in accuracy.notes)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"min_snr_db": 61}, "SNR 60.0 dB, needs 61 dB"),
        ({"min_snr_db": 0, "max_abs_error": 1e-3}, "largest error"),
        ({"min_snr_db": 0, "min_cosine": 1.0 - 1e-12}, None),
    ],
)
def test_each_limit_is_its_own(tmp_path, limits, words):
    run = partial(gate, tmp_path, model_of(identity), model_of(scaled(1.001)), **limits)

    if words is None:
        assert run().min_snr_db == pytest.approx(60, abs=0.1)
        return
    with pytest.raises(VerifyError, match=words):
        run()


def steep(*factors):
    """The sine of so large a multiple that a step of float32 shows in the result."""

    def build(b):
        y = "x"
        for index, factor in enumerate(factors):
            y = b.op("Mul", y, b.constant(f"f{index}", np.float32(factor)))
        b.op("Sin", y, to="y")

    return build


def test_no_artifact_has_to_be_closer_than_the_original_is_to_itself(tmp_path):
    original, other_order = model_of(steep(3e5)), model_of(steep(3e3, 1e2))

    accuracy = gate(tmp_path, original, other_order)

    assert accuracy.min_snr_db < 70
    assert any("for input noise of 1e-7" in note for note in accuracy.notes)


def test_noise_of_the_original_hides_no_fault(tmp_path):
    with pytest.raises(VerifyError, match="output 'y'"):
        gate(tmp_path, model_of(steep(3e5)), model_of(steep(3.1e5)))


def test_a_floor_that_the_user_sets_is_not_lowered(tmp_path):
    original, other_order = model_of(steep(3e5)), model_of(steep(3e3, 1e2))

    with pytest.raises(VerifyError, match="needs"):
        gate(tmp_path, original, other_order, min_snr_db=90)


def with_random_output():
    model = model_of(identity)
    model.graph.node.append(h.make_node("RandomNormalLike", ["x"], ["drawn"]))
    model.graph.output.append(h.make_tensor_value_info("drawn", T.FLOAT, ["n", 6]))
    return model


def test_a_random_output_is_judged_by_its_form_alone(tmp_path):
    model = with_random_output()

    accuracy = gate(tmp_path, model, model)

    (note,) = [n for n in accuracy.notes if "random in the original" in n]
    assert "'drawn'" in note
    assert "'y'" not in note


def test_outputs_that_are_all_random_prove_nothing(tmp_path):
    model = model_of(lambda b: b.op("RandomNormalLike", "x", to="y"))

    with pytest.raises(VerifyError, match="every output of the original is random"):
        gate(tmp_path, model, model)


@pytest.mark.parametrize(
    ("network", "db"), [("MobileNetV3-small", 55.9), ("ViT", 58.2)]
)
def test_fp16_as_measured_on_networks_passes(tmp_path, network, db):
    off_by = 10 ** (-db / 20)

    accuracy = gate(
        tmp_path, model_of(identity), model_of(scaled(1 + off_by)), precision="fp16"
    )

    assert accuracy.min_snr_db == pytest.approx(db, abs=0.1), network


@pytest.mark.parametrize(
    ("found", "text"), [(59.96, "59.9"), (59.94, "59.9"), (12.26, "12.3")]
)
def test_a_missed_floor_never_reads_as_reached(found, text):
    assert missed(found, 60, 1) == text


def test_a_row_without_signal_is_held_against_the_other_feeds():
    blank, noise = np.zeros((1, 4)), np.full((1, 4), 1e-4)

    alone = tally(blank, noise).worst_row_db
    beside = tally(blank, noise, least_power=0.01).worst_row_db

    assert alone == -np.inf
    assert beside == pytest.approx(60)


def test_rows_that_a_batch_treats_differently_are_told_apart():
    same = np.ones((4, 3), np.float32)
    other = same.copy()
    other[2] += 0.01

    assert equal_rows({"y": same, "z": other}, 4) == {"y": 0, "z": None}
    assert rows_differ_db(other, 0) == pytest.approx(40, abs=0.1)


def test_a_list_that_is_no_batch_has_no_rows():
    boxes = np.arange(12.0).reshape(6, 2)

    assert equal_rows({"boxes": boxes}, 4) == {}


@pytest.mark.parametrize("rows", [2, 4])
def test_rows_of_a_state_are_along_another_axis(rows):
    state = np.arange(2 * 3, dtype=np.float32).reshape(2, 1, 3)

    assert equal_rows({"state": state.repeat(rows, axis=1)}, rows) == {"state": 1}


def test_a_tie_is_no_disagreement_and_a_flip_is():
    tied = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
    other = np.array([[1.0, 1.01, 0.0], [3.0, 2.0, 1.0]])

    found = tally(tied, other)

    assert (found.hits, found.rows) == (1, 2)


def test_whole_numbers_are_equal_or_not():
    found = tally(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 9]))

    assert (found.hits, found.rows, found.max_abs_error) == (3, 4, 5)
    assert found.is_exact


def test_the_same_infinity_is_no_difference():
    masked = np.array([[1.0, -np.inf], [np.nan, 2.0]])

    assert tally(masked, masked.copy()).snr_db == np.inf


@given(VALUES, VALUES)
def test_tallies_of_parts_add_up_to_the_tally_of_the_whole(a, b):
    whole = tally(a, b)
    parts = tally(a[:1], b[:1]) + tally(a[1:], b[1:])

    assert parts.values == whole.values
    assert parts.noise == pytest.approx(whole.noise)
    assert parts.max_abs_error == whole.max_abs_error
    assert parts.hits == whole.hits


@given(VALUES)
def test_nothing_differs_from_itself(a):
    found = tally(a, a.copy())

    assert found.snr_db == np.inf
    assert found.figures("y").cosine == pytest.approx(1)
    assert Tally() + found == found
