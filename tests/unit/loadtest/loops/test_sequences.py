import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triton_kit.errors import SpecError
from triton_kit.loadtest.loops.sequences import Sequences, make_sequence_source
from triton_kit.loadtest.option_texts import parse_parameter
from triton_kit.loadtest.request import Request


def walk(sequences, slot, count, streams=()):
    made = []

    def request_at(place, parameters):
        made.append((Request(b""), place, parameters))
        return made[-1][0]

    distinct = max((places.stop for places in streams), default=3)
    sequence_source = make_sequence_source(sequences, distinct, request_at, streams)
    requests = sequence_source(slot).requests
    known = {request: (place, parameters) for request, place, parameters in made}
    return [known[request] for request in itertools.islice(requests, count)]


@given(length=st.integers(1, 9), variation=st.floats(0, 1), slot=st.integers(0, 5))
def test_every_sequence_starts_once_and_ends_once(length, variation, slot):
    sequences = Sequences(length=length, variation=variation, first_id=10)
    lengths, current = [], 0

    for _, parameters in walk(sequences, slot, 200):
        assert parameters["sequence_id"] == 10 + slot
        assert parameters["sequence_start"] == (current == 0)
        current += 1
        if parameters["sequence_end"]:
            lengths.append(current)
            current = 0

    spread = int(length * variation)
    assert all(max(length - spread, 1) <= n <= length + spread for n in lengths)


@given(length=st.integers(1, 9), taken=st.integers(0, 30))
def test_a_sequence_cut_short_can_be_ended(length, taken):
    made = {}

    def request_at(_place, parameters):
        request = Request(b"")
        made[request] = parameters
        return request

    sequences = Sequences(length=length, variation=0)
    slot_requests = make_sequence_source(sequences, 3, request_at)(2)
    last = [
        made[request] for request in itertools.islice(slot_requests.requests, taken)
    ][-1:]

    if not last or last[0]["sequence_end"]:
        assert slot_requests.ending is None
    else:
        ending = {"sequence_id": 3, "sequence_start": False, "sequence_end": True}
        assert made[slot_requests.ending] == ending


def test_the_data_is_taken_in_turn():
    places = [place for place, _ in walk(Sequences(length=4), 0, 7)]

    assert places == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize(
    ("length", "slot", "expected"),
    [
        (None, 0, [0, 1, 2, 3, 4, 0, 1, 2]),
        (None, 1, [3, 4, 0, 1, 2, 3, 4, 0]),
        (2, 0, [0, 1, 3, 4, 0, 1, 3, 4]),
        (4, 0, [0, 1, 2, 0, 3, 4, 3, 4]),
    ],
)
def test_each_sequence_takes_a_stream_from_its_beginning(length, slot, expected):
    sequences = Sequences(length=length, variation=0)

    taken = walk(sequences, slot, 8, streams=[range(3), range(3, 5)])

    assert [place for place, _ in taken] == expected


@pytest.mark.parametrize(
    "wrong", [{"length": 0}, {"variation": 1.5}, {"first_id": 0}, {"at_a_time": 0}]
)
def test_impossible_sequences_do_not_exist(wrong):
    with pytest.raises(SpecError):
        Sequences(**wrong)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("priority:1:int", ("priority", 1)),
        ("fast:true:bool", ("fast", True)),
        ("note:a:b:string", ("note", "a:b")),
    ],
)
def test_a_request_parameter_has_a_type(text, expected):
    assert parse_parameter(text) == expected


@pytest.mark.parametrize("text", ["a", "a:b", "a:b:int", "a:yes:bool", ":1:int"])
def test_malformed_parameters_are_refused(text):
    with pytest.raises(SpecError, match="request parameter"):
        parse_parameter(text)
