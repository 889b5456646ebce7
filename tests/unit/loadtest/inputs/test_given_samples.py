"""Samples: given values go out in turn, and only where they fit the model."""

import numpy as np
import pytest

from triton_kit.errors import SpecError
from triton_kit.loadtest.inputs.data import check_samples, sample_inputs
from triton_kit.tensors import Tensor, data_type
from triton_kit.triton.model import ModelInfo


def model(max_batch_size):
    x = Tensor(name="x", dtype=data_type("FP32"), shape=(2,))
    return ModelInfo(
        name="m", version="", max_batch_size=max_batch_size, inputs=(x,), outputs=()
    )


ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)


def test_a_request_takes_the_next_rows_and_wraps_around():
    inputs = sample_inputs(model(8), {"x": ROWS}, batch_size=2, first=2)

    np.testing.assert_array_equal(inputs["x"], [[4, 5], [0, 1]])


def test_a_model_without_batching_gets_one_row_without_that_axis():
    inputs = sample_inputs(model(0), {"x": ROWS}, batch_size=1, first=4)

    np.testing.assert_array_equal(inputs["x"], [2, 3])


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ({"y": ROWS}, "no input of 'm'"),
        ({"x": ROWS.astype(np.float64)}, "the model takes FP32"),
        ({"x": ROWS[:0]}, "are 0 of float32"),
        ({"x": ROWS[:, :1]}, r"have shape \(1,\)"),
        ({"x": ROWS[0]}, r"have shape \(\)"),
    ],
)
def test_samples_that_do_not_fit_are_refused(samples, words):
    with pytest.raises(SpecError, match=words):
        check_samples(model(8), samples)


def test_samples_that_fit_pass():
    assert check_samples(model(8), {"x": ROWS}) is None
