"""Warm-up requests: sizes, types and sample files come out as the server wants them."""

import numpy as np
import pytest
from tritonclient.grpc.model_config_pb2 import ModelConfig

from triton_kit.errors import SpecError
from triton_kit.repository.generate.warmup import Warmup, add_warmup


@pytest.fixture
def config():
    config = ModelConfig(name="m", max_batch_size=8)
    config.input.add(name="x", data_type="TYPE_FP32", dims=[-1, 2])
    config.input.add(name="t", data_type="TYPE_STRING", dims=[1])
    return config


def warmup(source, **changes):
    return Warmup(
        **{"name": "w", "batch_sizes": (2,), "count": 1} | changes, source=source
    )


def test_generated_values_use_the_given_size(config):
    files = add_warmup(config, warmup("random"), sizes={"x": (3, 2)})

    (request,) = config.model_warmup
    assert files == {}
    assert (request.name, request.batch_size, request.count) == ("w", 2, 1)
    assert list(request.inputs["x"].dims) == [3, 2]
    assert request.inputs["x"].random_data
    assert request.inputs["t"].zero_data  # random bytes are no strings


def test_samples_become_raw_files_of_one_sample(config, tmp_path):
    x = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    np.savez(tmp_path / "s.npz", x=x, t=np.array([[b"abc"], [b"d"]]))

    files = add_warmup(config, warmup(tmp_path / "s.npz"), sizes={})

    assert files == {
        "warmup/w.x": x[0].tobytes(),
        "warmup/w.t": b"\x03\x00\x00\x00abc",
    }
    assert config.model_warmup[0].inputs["x"].input_data_file == "w.x"
    assert list(config.model_warmup[0].inputs["x"].dims) == [3, 2]


def test_several_batch_sizes_share_their_files(config, tmp_path):
    x = np.ones((1, 3, 2), np.float32)
    np.savez(tmp_path / "s.npz", x=x, t=np.array([[b"abc"]]))

    files = add_warmup(config, warmup(tmp_path / "s.npz", batch_sizes=(1, 4)), sizes={})

    assert sorted(files) == ["warmup/w.t", "warmup/w.x"]
    requests = [(r.name, r.batch_size) for r in config.model_warmup]
    assert requests == [("w_1", 1), ("w_4", 4)]
    assert {r.inputs["x"].input_data_file for r in config.model_warmup} == {"w.x"}


def test_an_input_that_varies_needs_a_size(config):
    with pytest.raises(SpecError, match="warm-up needs its size") as caught:
        add_warmup(config, warmup("zeros"), sizes={})

    assert "inputs.x" in caught.value.hint


def test_a_batch_larger_than_the_models_is_refused(config):
    with pytest.raises(SpecError, match="batch size 9, the model takes 8"):
        add_warmup(config, warmup("zeros", batch_sizes=(9,)), sizes={"x": (1, 2)})


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.zeros((1, 3, 2), np.float32)}, "has no 't'"),
        ({"x": np.zeros((1, 3, 2)), "t": np.array([[b"a"]])}, "float64"),
        ({"x": np.zeros((1, 3), np.float32), "t": np.array([[b"a"]])}, "takes FP32"),
    ],
)
def test_samples_that_do_not_fit_are_refused(config, tmp_path, arrays, words):
    np.savez(tmp_path / "s.npz", **arrays)

    with pytest.raises(SpecError, match=words):
        add_warmup(config, warmup(tmp_path / "s.npz"), sizes={})
