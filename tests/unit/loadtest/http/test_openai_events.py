import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triton_kit.loadtest.http.event_watch import EventWatch
from triton_kit.loadtest.http.openai_events import (
    OPENAI_EVENTS,
    read_event,
    text_in,
    usage_in,
)
from triton_kit.loadtest.request import Failure

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "text", "content", "usage", "error", "message"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


def chat(**delta):
    return json.dumps({"choices": [{"delta": delta}]}).encode()


@pytest.mark.parametrize(
    ("event", "is_token"),
    [
        (chat(role="assistant", content=""), False),
        (chat(role="assistant", content=None), False),
        (chat(content="a"), True),
        (chat(reasoning_content="hm"), True),
        (chat(tool_calls=[{"function": {"arguments": "{"}}]), True),
        (b'{"choices": [{"text": "a"}]}', True),
        (b'{"choices": [{"text": "", "finish_reason": "length"}]}', False),
        (b'{"choices": [], "usage": {"completion_tokens": 1}}', False),
        (b'{"choices": null}', False),
    ],
)
def test_events_with_tokens_are_told_from_others(event, is_token):
    assert read_event(event) is is_token


@pytest.mark.parametrize(
    ("event", "kind", "words"),
    [
        (b'{"error": {"message": "out of memory"}}', "stream error", "out of memory"),
        (b'{"error": "overloaded"}', "stream error", "overloaded"),
        (b'{"choices": [', "malformed event", "choices"),
        (b"5", "malformed event", "no JSON object"),
        (b"\xff", "malformed event", ""),
    ],
)
def test_what_is_wrong_with_an_event_is_said(event, kind, words):
    failure = read_event(event)

    assert isinstance(failure, Failure)
    assert failure.kind == kind
    assert words in failure.detail


@given(JSON | st.binary(max_size=20))
def test_no_event_breaks_the_reader(value):
    event = value if isinstance(value, bytes) else json.dumps(value).encode()
    found = read_event(event)
    if not isinstance(found, Failure):
        text_in(event)
        usage_in(event)

    assert isinstance(found, bool | Failure)


def watch(data, *, keep=True):
    times = []
    events = EventWatch(
        0, lambda _slot, _before, at: times.append(at), OPENAI_EVENTS, keep=keep
    )
    for at_ns, piece in enumerate(data, 1):
        events.note(piece, at_ns)
    return events, times


def sse(*events):
    return [b"data: " + event.replace(b"\n", b"\ndata: ") + b"\n\n" for event in events]


def test_only_tokens_are_timed_and_the_rest_is_kept():
    usage = b'{"usage": {"prompt_tokens": 3, "completion_tokens": 2}, "choices": []}'
    data = sse(chat(role="assistant"), chat(content="a"), chat(content="b"), usage)
    events, times = watch([*data, *sse(b"[DONE]")])

    assert times == [2, 3]
    assert events.first_ns == 2
    assert events.failure is None
    assert usage_in(events.body()) == (3, 2)
    assert text_in(events.body()) == "ab"


def test_an_event_of_several_lines_is_one_event():
    event = json.dumps({"choices": [{"text": "a"}]}, indent=1).encode()
    events, times = watch(sse(event, event, b"[DONE]"))

    assert times == [1, 2]
    assert text_in(events.body()) == "aa"
    assert usage_in(events.body()) is None


def test_a_stream_without_its_end_is_incomplete():
    events, _ = watch(sse(chat(content="a")))

    assert events.failure.kind == "incomplete stream"
    assert "after 1 events without [DONE]" in events.failure.detail
