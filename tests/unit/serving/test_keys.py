"""The key file: made for its owner only, read back, refused if others can read it."""

import stat

import pytest

from triton_kit.errors import SpecError
from triton_kit.serving.keys import read_key, read_or_make_key


def test_a_missing_key_file_is_made_once(tmp_path):
    path = tmp_path / "key"
    key = read_or_make_key(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(key) >= 43
    assert read_or_make_key(path) == read_key(path) == key


def test_a_key_file_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "key"
    read_or_make_key(path)
    path.chmod(0o640)

    with pytest.raises(SpecError, match=r"(?s)mode 0640.*chmod 600"):
        read_key(path)


@pytest.mark.parametrize("text", ["", "short", "has:a=colon-and-more", "a b" * 10])
def test_a_file_without_a_key_is_refused(tmp_path, text):
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(0o600)

    with pytest.raises(SpecError, match="no key in this file"):
        read_key(path)


def test_a_key_file_in_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(SpecError, match="cannot make the key file"):
        read_or_make_key(tmp_path / "nowhere" / "key")
