import pytest

from triton_kit.files import write_whole


def test_what_cannot_be_written_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")

    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half \ud800")

    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_one(tmp_path):
    (tmp_path / "link").symlink_to("file")

    write_whole(tmp_path / "link", "a\r\nb\n", executable=True)

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"a\r\nb\n"
    assert (tmp_path / "file").stat().st_mode & 0o111
