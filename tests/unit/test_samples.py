"""Samples come from plain arrays only; anything else is refused by name."""

import numpy as np
import pytest

from triton_kit.errors import SpecError
from triton_kit.samples import read_npz


def test_arrays_come_back_by_name(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(3), y=np.array([b"text"]))

    arrays = read_npz(tmp_path / "a.npz")

    np.testing.assert_array_equal(arrays["x"], [0, 1, 2])
    assert arrays["y"][0] == b"text"


def truncated(path):
    np.savez(path, x=np.arange(1000))
    path.write_bytes(path.read_bytes()[:500])


def damaged(path):
    np.savez_compressed(path, x=np.arange(1000))
    content = bytearray(path.read_bytes())
    content[80:120] = b"\xff" * 40
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "cannot read it"),
        (lambda path: path.mkdir(), "cannot read it"),
        (lambda path: path.write_bytes(b""), "not an .npz"),
        (lambda path: path.write_bytes(b"garbage"), "not an .npz"),
        (truncated, "not an .npz"),
        (damaged, "not an .npz"),
        (lambda path: np.savez(path, x=np.array([{}], object)), "not an .npz"),
    ],
)
def test_what_is_no_archive_of_arrays_is_refused(tmp_path, make, words):
    path = tmp_path / "a.npz"
    make(path)

    with pytest.raises(SpecError, match=words) as caught:
        read_npz(path)

    assert str(path) in caught.value.message


def test_a_single_array_is_refused_with_what_to_do(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))

    with pytest.raises(SpecError, match="a single array") as caught:
        read_npz(tmp_path / "a.npy")

    assert "numpy.savez" in caught.value.hint
