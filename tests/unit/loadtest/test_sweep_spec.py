import pytest

from triton_kit.errors import SpecError
from triton_kit.loadtest.sweep_spec import parse_batch_sizes, sweep


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("8", [8]),
        ("1,2,4", [1, 2, 4]),
        ("1:16:x2", [1, 2, 4, 8, 16]),
        ("3:20:x3", [3, 9]),
        ("4:16:4", [4, 8, 12, 16]),
        ("1:3", [1, 2, 3]),
    ],
)
def test_batch_sizes_are_a_list_or_a_range(text, sizes):
    assert parse_batch_sizes(text) == sizes


@pytest.mark.parametrize(
    "text",
    ["x", "", "1,", "1:", "4:2", "1:8:0", "1:8:x1", "0:8:x2", "1:2:3:4", "1:9999"],
)
def test_what_is_no_batch_size_is_refused(text):
    with pytest.raises(SpecError, match="batch size"):
        parse_batch_sizes(text)


def test_shapes_of_several_inputs_pair_up():
    found = sweep([1, 2], {"ids": [(8,), (16,)], "mask": [(8,), (16,)], "x": [(3,)]})

    assert [(v.batch_size, v.shapes["ids"], v.shapes["mask"]) for v in found] == [
        (1, (8,), (8,)),
        (1, (16,), (16,)),
        (2, (8,), (8,)),
        (2, (16,), (16,)),
    ]
    assert [v.name(found) for v in found[:2]] == [
        "batch 1, ids:8, mask:8",
        "batch 1, ids:16, mask:16",
    ]
    assert found[0].name(found[:1]) == ""


def test_shapes_that_do_not_pair_up_are_refused():
    with pytest.raises(SpecError, match="a has 2, b has 3 shapes"):
        sweep([1], {"a": [(1,)] * 2, "b": [(1,)] * 3})
