"""The inputs of the accuracy gate: shapes, and a batch of equal rows."""

import numpy as np
import pytest

from triton_kit.conversion.shapes import full_profiles
from triton_kit.conversion.verify.inputs import make_inputs
from triton_kit.options.shapes import ShapeRange
from triton_kit.tensors import Tensor, data_type


def inputs_of(shapes, most, **profile):
    """Return the verification inputs of float32 tensors by shape, -1 is free."""
    tensors = [
        Tensor(name=name, dtype=data_type("FP32"), shape=shape)
        for name, shape in shapes.items()
    ]
    profiles = full_profiles((profile,), tensors, max_batch_size=most)
    return make_inputs(
        tensors, profiles, samples=None, run_all=False, ranges={}, seed=0
    )


@pytest.mark.parametrize("batch", [2, 5])
def test_equal_rows_have_equal_states(batch):
    state = ShapeRange(min=(2, 1, 4), opt=(2, batch, 4), max=(2, batch, 4))
    shapes = {"sound": (-1, 6), "state": (2, -1, 4), "gain": (3,), "rate": ()}

    last = inputs_of(shapes, batch, state=state)[-1]

    assert (last.point, last.rows) == ("identical rows", batch)
    sound, state = last.feed["sound"], last.feed["state"]
    assert (sound == sound[:1]).all()
    assert (state == state[:, :1]).all()
    assert not np.array_equal(state[0], state[1])  # its layers stay
    assert len(np.unique(last.feed["gain"])) == 3


def test_inputs_of_unlike_fixed_sizes_have_no_equal_rows():
    found = inputs_of({"x": (4, 6), "state": (2, 4, 8)}, None)

    assert [item.rows for item in found] == [0]


def test_a_batch_that_is_fixed_everywhere_has_equal_rows():
    found = inputs_of({"x": (4, 6), "z": (4, 8)}, None)

    assert [item.rows for item in found] == [0, 4]
