"""The events and responses of the OpenAI API: text, usage, errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple  # Any: JSON

from triton_kit.loadtest.http.event_watch import EventForm
from triton_kit.loadtest.http.server_sent_events import error_text
from triton_kit.loadtest.request import Failure

_SHOWN = 80
# Fields of a delta that hold generated tokens; the last two are of reasoning models.
_TEXT_FIELDS = ("content", "reasoning_content", "reasoning")
_USAGE = b'"usage"'


class Usage(NamedTuple):
    """Tokens as the server counted them."""

    prompt: int
    completion: int


def read_event(data: bytes) -> Failure | bool:
    """Return whether an event has generated tokens, or what is wrong with it.

    The first event of a chat often has the role only, the last one the usage.
    """
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        shown = data[:_SHOWN].decode(errors="replace")
        return Failure("malformed event", f"{error}: {shown}")
    if not isinstance(fields, dict):
        shown = data[:_SHOWN].decode(errors="replace")
        return Failure("malformed event", f"no JSON object: {shown}")
    if error_message := error_text(fields):
        return Failure("stream error", error_message)
    return any(
        _text(choice) or _tool_calls(choice) for choice in _objects(fields, "choices")
    )


def _objects(fields: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    values = fields.get(name)
    for value in values if isinstance(values, list) else []:
        if isinstance(value, dict):
            yield value


def _delta(choice: dict[str, Any]) -> dict[str, Any]:
    delta = choice.get("delta")
    return delta if isinstance(delta, dict) else {}


def _text(choice: dict[str, Any]) -> str:
    """Return the text of a choice: of a completion, or of a chat."""
    delta = _delta(choice)
    words = [choice.get("text"), *(delta.get(name) for name in _TEXT_FIELDS)]
    return "".join(word for word in words if isinstance(word, str))


def _tool_calls(choice: dict[str, Any]) -> bool:
    return bool(_delta(choice).get("tool_calls"))


OPENAI_EVENTS = EventForm(read=read_event, closing=b"[DONE]")


def usage_in(body: bytes) -> Usage | None:
    """Return the usage in the events of a response, a line each, where it has one."""
    for line in reversed(body.split(b"\n")):
        if _USAGE not in line:
            continue
        usage = json.loads(line).get("usage")
        if isinstance(usage, dict):
            prompt = usage.get("prompt_tokens")
            completion = usage.get("completion_tokens")
            if isinstance(prompt, int) and isinstance(completion, int):
                return Usage(prompt, completion)
    return None


def text_in(body: bytes) -> str:
    """Return the text in the events of a response, a line each."""
    return "".join(
        _text(choice)
        for line in body.split(b"\n")
        for choice in _objects(json.loads(line), "choices")
    )
