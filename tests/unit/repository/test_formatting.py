"""The canonical layout, and the comments in it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triton_kit.repository.config.formatting import format_config
from triton_kit.repository.config.parse import ConfigSyntaxError, parse

UNTIDY = """\
# What it is.
max_batch_size: 8   # as many as fit
output { name: "b"  data_type: TYPE_FP32 dims: 4 }
# Pixels,
# scaled.
input { name: "a" # NHWC
  data_type: TYPE_FP32, dims: [4,
  # the rest varies
  -1] }
dynamic_batching { # soon
  # preferred_batch_size: 4
}
name: "m"
# The end.
"""
TIDY = """\
name: "m"
# What it is.
max_batch_size: 8  # as many as fit
input [
  # Pixels,
  # scaled.
  {
    name: "a"  # NHWC
    data_type: TYPE_FP32
    # the rest varies
    dims: [ 4, -1 ]
  }
]
output [
  {
    name: "b"
    data_type: TYPE_FP32
    dims: [ 4 ]
  }
]
dynamic_batching { }  # soon
# preferred_batch_size: 4
# The end.
"""


def test_fields_get_their_order_and_comments_stay_with_them():
    assert format_config(UNTIDY) == TIDY


def test_the_canonical_layout_stays_as_it_is():
    assert format_config(TIDY) == TIDY


def test_a_hash_in_a_string_is_no_comment():
    text = format_config('name: "a # b"\nbackend: "c" # d\n')

    assert text == 'name: "a # b"\nbackend: "c"  # d\nmax_batch_size: 0\n'


COMMENTED = st.lists(
    st.sampled_from(
        [
            *["# one\n", "# two\n", "\n", " "],
            *[
                'name: "m"\n',
                "max_batch_size: 4\n",
                'input { name: "x" dims: [1, 2] }\n',
            ],
            *["dynamic_batching {\n", "}\n", 'parameters { key: "k" value { } }\n'],
        ]
    ),
    max_size=12,
).map("".join)


@given(COMMENTED)
def test_no_comment_and_no_value_is_ever_lost(text):
    try:
        before = parse(text).config
    except ConfigSyntaxError:
        return

    formatted = format_config(text)

    assert parse(formatted).config == before
    assert formatted.count("#") == text.count("#")
    assert format_config(formatted) == formatted


def test_format_writes_files_and_check_only_tells(kit, tmp_path):
    path = tmp_path / "config.pbtxt"
    path.write_text(UNTIDY)

    checked = kit("format", "--check", path)
    untouched = path.read_text()
    formatted = kit("format", path)
    again = kit("format", "--check", path)

    assert (checked.exit_code, untouched) == (1, UNTIDY)
    assert f"would format {path}" in checked.output
    assert (formatted.exit_code, path.read_text()) == (0, TIDY)
    assert (again.exit_code, again.output) == (0, "")


@pytest.mark.parametrize("text", ["nme: 1", "\x00"])
def test_format_of_what_is_no_config_says_where(kit, tmp_path, text):
    path = tmp_path / "config.pbtxt"
    path.write_text(text)

    result = kit("format", path)

    assert result.exit_code == 7
    assert f"{path}:1:1: " in result.output
    assert path.read_text() == text


def test_format_of_nothing_is_an_error(kit, tmp_path):
    assert "no such file" in kit("format", tmp_path / "none").output


def test_format_keeps_the_mode_of_a_file(kit, tmp_path):
    file = tmp_path / "config.pbtxt"
    file.write_text('name:"a"')
    file.chmod(0o640)

    kit("format", file)

    assert file.stat().st_mode & 0o777 == 0o640


def test_format_takes_the_configs_of_a_folder(kit, tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.pbtxt").write_text(f'name:"{name}"')

    result = kit("format", tmp_path, "--json")

    assert len(json.loads(result.stdout)["changed"]) == 2


def test_format_leaves_a_file_alone_that_is_not_utf8(kit, tmp_path):
    file = tmp_path / "config.pbtxt"
    file.write_bytes(b'# caf\xe9\nname:"a"')

    result = kit("format", file)

    assert result.exit_code == 7
    assert f"{file}:1: byte 0xe9 is not UTF-8" in result.output
    assert file.read_bytes() == b'# caf\xe9\nname:"a"'
