"""Feeds: samples in the shapes of a model, and random values by what inputs are."""

import numpy as np
import pytest

from triton_kit.conversion.workers.samples import (
    batches,
    fit,
    load_samples,
    random_feed,
)
from triton_kit.errors import SpecError
from triton_kit.tensors import Tensor, data_type


def tensor(name, shape, dtype="int64"):
    return Tensor(name=name, dtype=data_type(dtype), shape=shape)


def drawn(name, shape=(3, 8), **ranges):
    rng = np.random.default_rng(0)
    return random_feed([tensor(name, (-1, -1))], {name: shape}, rng, ranges)[name]


def test_a_scalar_takes_one_value_of_its_samples(tmp_path):
    np.savez(tmp_path / "s.npz", k=np.arange(5, dtype=np.float32))
    samples = load_samples(tmp_path / "s.npz", [tensor("k", (), "fp32")])

    found = fit(samples, {"k": ()}, offset=7)["k"]

    assert (found.shape, float(found)) == ((), 2.0)


def test_one_value_for_a_scalar_is_that_of_every_sample(tmp_path):
    sound = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.savez(tmp_path / "s.npz", sr=np.int64(16000), sound=sound)
    tensors = [tensor("sr", ()), tensor("sound", (-1, 4), "fp32")]

    samples = load_samples(tmp_path / "s.npz", tensors)

    assert samples["sr"].tolist() == [16000] * 3
    feeds = list(batches(samples, {"sr": (), "sound": (1, 4)}))
    assert [int(feed["sr"]) for feed in feeds] == [16000] * 3


def test_a_model_of_scalars_takes_one_value(tmp_path):
    np.savez(tmp_path / "s.npz", k=np.float32(2))

    samples = load_samples(tmp_path / "s.npz", [tensor("k", (), "fp32")])

    assert samples["k"].tolist() == [2.0]


@pytest.mark.parametrize(
    ("shape", "value", "words"),
    [((-1, 4), 2.0, r"has shape \(\), the input is \(-1, 4\)"), ((), np.nan, "NaN")],
)
def test_one_value_that_does_not_fit_is_refused(tmp_path, shape, value, words):
    np.savez(tmp_path / "s.npz", k=np.float32(value))

    with pytest.raises(SpecError, match=words):
        load_samples(tmp_path / "s.npz", [tensor("k", shape, "fp32")])


def test_an_attention_mask_is_ones_and_then_zeros():
    mask = drawn("attention_mask")

    assert set(np.unique(mask)) <= {0, 1}
    assert (mask[:, 0] == 1).all()
    assert (np.diff(mask, axis=1) <= 0).all()


def test_positions_count_up():
    assert (drawn("position_ids") == np.arange(8)).all()


def test_token_types_are_zero_or_one():
    assert set(np.unique(drawn("token_type_ids"))) == {0, 1}


@pytest.mark.parametrize("name", ["attention_mask", "position_ids", "sr"])
def test_a_range_that_pins_a_value_takes_precedence(name):
    assert (drawn(name, **{name: (16000, 16000)}) == 16000).all()


def stateful(tmp_path):
    """Five samples of sound, and of a state whose batch is axis 1."""
    state = np.arange(5, dtype=np.float32)[:, None, None, None] * np.ones((2, 1, 4))
    sound = np.arange(5, dtype=np.float32)[:, None] * np.ones(6)
    np.savez(tmp_path / "s.npz", state=state.astype("f4"), sound=sound.astype("f4"))
    tensors = [tensor("sound", (-1, 6), "fp32"), tensor("state", (2, -1, 4), "fp32")]
    return load_samples(tmp_path / "s.npz", tensors)


def test_every_sample_keeps_its_own_state(tmp_path):
    feeds = list(batches(stateful(tmp_path), {"sound": (1, 6), "state": (2, 1, 4)}))

    assert len(feeds) == 5
    for index, feed in enumerate(feeds):
        assert feed["state"].shape == (2, 1, 4)
        assert (feed["state"] == index).all()
        assert (feed["sound"] == index).all()


def test_a_state_grows_along_its_own_batch_axis(tmp_path):
    found = fit(stateful(tmp_path), {"sound": (3, 6), "state": (2, 3, 4)}, offset=1)

    assert found["sound"][:, 0].tolist() == [1, 2, 3]
    assert found["state"].shape == (2, 3, 4)
