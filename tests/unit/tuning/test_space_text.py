"""`--space` is read before a server starts, and says what it cannot take."""

import pytest

from triton_kit.errors import SpecError
from triton_kit.tuning.space_text import check_space_texts, read_space_text


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("instances=1,2,4", (1, 2, 4)),
        ("decode:max_batch_size=8..64", (8, 16, 32, 64)),
        ("queue_delay_us=off, 0,500", (None, 0, 500)),
        ("preferred=[],[8],[8,16]", ((), (8,), (8, 16))),
        ("request_rate=0.5,100", (0.5, 100)),
        ("optimization.priority=PRIORITY_MAX,1", ("PRIORITY_MAX", 1)),
        ("parameters.mode.string_value=fast,true", ("fast", True)),
    ],
)
def test_a_space_is_read_as_it_is_typed(text, values):
    check_space_texts([text])

    assert read_space_text(text) == (text.partition("=")[0], values)


@pytest.mark.parametrize(
    ("texts", "error"),
    [
        (["instances"], "'instances' cannot be read"),
        (["=1,2"], "'=1,2' cannot be read"),
        (["instances="], "cannot be read"),
        (["instances=two"], 'expected whole numbers above 0, found "two"'),
        (["instances=0,1"], "expected whole numbers above 0, found 0"),
        (["instances=on"], "expected whole numbers above 0, found true"),
        (["decode:instances=1.5"], "found 1.5"),
        (["instances=4..1"], "no range of whole numbers"),
        (["instances=1..x"], "no range of whole numbers"),
        (["instances=1,1"], "has a value twice"),
        (["max_batch_size=-1"], "whole numbers from 0 on, found -1"),
        (["queue_delay_us=100us"], 'expected microseconds or off, found "100us"'),
        (["preferred=[8,x]"], "expected batch sizes"),
        (["preferred=off"], "expected batch sizes"),
        (["threads=off"], "found null"),
        (["concurrency=0,1"], "expected numbers above 0, found 0"),
        (["instnaces=1,2"], "no field 'instnaces'"),
        (["a:b:1=1,2"], "no field '1'"),
        (["instances=1", "instances=2"], "names instances twice"),
        (["concurrency=1", "request_rate=9"], "both concurrency and request_rate"),
        (["precision=fp16"], "only a project on a server of the kit"),
    ],
)
def test_what_cannot_be_read_is_refused_before_the_server_is_asked(
    kit, tmp_path, texts, error
):
    words = [word for text in texts for word in ("--space", text)]

    # No server listens there.
    result = kit("tune", "m", "-u", "127.0.0.1:9", "-o", tmp_path / "out", *words)

    assert result.exit_code == 2
    assert error in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()


def test_the_error_of_a_misspelt_field_names_the_closest():
    with pytest.raises(SpecError) as caught:
        check_space_texts(["instnaces=1,2"])

    assert "instances" in caught.value.hint
