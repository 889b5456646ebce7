"""Conversations to hold with a language model, from a file or generated.

JSON lines, one object each: `prompt` (or `text`, `text_input`), `messages` of the chat
API, or `turns` of one session. `max_tokens` (or `output_length`) limits the response.
Lines of one `session_id` are the turns of one session. `timestamp` is when a prompt is
due, in milliseconds, for a fixed schedule.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # JSON values

import numpy as np

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.files import DATA_BYTES, read_text
from triton_kit.loadtest.generation_spec import GenerationSpec, Lengths
from triton_kit.loadtest.llm.tokens import Tokenizer, words

SUFFIX = ".jsonl"
_TEXTS = ("prompt", "text", "text_input")
_LIMITS = ("max_tokens", "output_length")
_TIME = "timestamp"
_OF_SESSIONS = ("turns", "session_id")
_KNOWN = {*_TEXTS, *_LIMITS, _TIME, "messages", *_OF_SESSIONS}
_EXAMPLE = '{"prompt": "Why is the sky blue?", "max_tokens": 64}'

# A message of the chat API: role, content.
Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What the client says next: messages, mostly one, and the limit of tokens."""

    messages: tuple[Message, ...]
    max_tokens: int | None = None


# The turns of one session.
Conversation = tuple[Turn, ...]


def read_prompts(path: Path, spec: GenerationSpec, *, seed: int) -> list[Conversation]:
    """Read conversations from JSON lines.

    Raises:
        SpecError: a line cannot be read, with its number.
    """
    generator = np.random.default_rng(seed)
    sessions: dict[object, list[Turn]] = {}
    for where, fields in _lines(path):
        session = fields.get("session_id", where)
        limit = _limit(fields, where, spec, generator)
        turns = [
            Turn(messages=messages, max_tokens=limit)
            for messages in _turns(fields, where)
        ]
        sessions.setdefault(str(session), []).extend(turns)
    return [tuple(turns) for turns in sessions.values()]


def read_timestamps(path: Path) -> tuple[int, ...]:
    """Return when each prompt of a file is due, in ns from the first one.

    Raises:
        SpecError: a line has no time, or an earlier one than the line before, or is of
            a session, whose turns wait for the responses before them.
    """
    times_ms: list[float] = []
    for where, fields in _lines(path):
        for name in _OF_SESSIONS:
            if name in fields:
                raise SpecError(
                    f"{where}: {name!r} makes a session, and a turn waits for the "
                    "response before it, not for a time",
                    hint="a fixed schedule needs one prompt per line, without "
                    f"{' and '.join(_OF_SESSIONS)}",
                )
        time_ms = fields.get(_TIME)
        if not isinstance(time_ms, int | float):
            raise SpecError(
                f"{where}: {_TIME} is {time_ms!r}, not a number of milliseconds"
            )
        if times_ms and time_ms < times_ms[-1]:
            raise SpecError(
                f"{where}: {_TIME} {time_ms:g} is before that of the line above"
            )
        times_ms.append(time_ms)
    return tuple(round((time_ms - times_ms[0]) * 1e6) for time_ms in times_ms)


def _lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return `file:line` and the object of each line that is not empty."""
    numbered = enumerate(read_text(path, limit=DATA_BYTES).splitlines(), 1)
    found = [
        (f"{path}:{number}", _object(line, f"{path}:{number}"))
        for number, line in numbered
        if line.strip()
    ]
    if not found:
        raise SpecError(f"{path}: no prompts in it", hint=f"a line is {_EXAMPLE}")
    return found


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{where}: not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise SpecError(f"{where}: not a JSON object", hint=f"a line is {_EXAMPLE}")
    for name in fields:
        if name not in _KNOWN:
            raise SpecError(
                f"{where}: unknown field {name!r}", hint=did_you_mean(name, _KNOWN)
            )
    return fields


def _turns(fields: dict[str, Any], where: str) -> Iterator[tuple[Message, ...]]:
    """Yield the messages of each turn of a line."""
    given = [name for name in (*_TEXTS, "messages", "turns") if name in fields]
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        raise SpecError(
            f"{where}: needs one of prompt, messages and turns, has {found}",
            hint=f"a line is {_EXAMPLE}",
        )
    value = fields[given[0]]
    if given[0] == "messages":
        yield _messages(value, where)
        return
    for turn in value if given[0] == "turns" else [value]:
        text = turn
        if isinstance(turn, dict):
            text = next((turn[name] for name in _TEXTS if name in turn), None)
        if not isinstance(text, str) or not text:
            raise SpecError(f"{where}: {given[0]!r} has no text")
        yield (_said(text),)


def _messages(value: object, where: str) -> tuple[Message, ...]:
    is_list = isinstance(value, list) and value
    messages = value if is_list and isinstance(value, list) else []
    if not messages or not all(isinstance(m, dict) and "role" in m for m in messages):
        raise SpecError(
            f"{where}: 'messages' is not a list of messages",
            hint='"messages": [{"role": "user", "content": "Hello"}]',
        )
    return tuple(messages)


def _said(text: str) -> Message:
    return {"role": "user", "content": text}


def _limit(
    fields: dict[str, Any],
    where: str,
    spec: GenerationSpec,
    generator: np.random.Generator,
) -> int | None:
    for name in _LIMITS:
        value = fields.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or value < 1:
            raise SpecError(f"{where}: {name} is {value!r}, not a whole number from 1")
        return value
    return _output_limit(spec, generator)


def _output_limit(spec: GenerationSpec, generator: np.random.Generator) -> int | None:
    return None if spec.output_tokens is None else _draw(spec.output_tokens, generator)


def generate_prompts(
    spec: GenerationSpec, *, seed: int, tokenizer: Tokenizer | None
) -> list[Conversation]:
    """Generate conversations of random words; the same seed gives the same ones."""
    generator = np.random.default_rng(seed)

    def turn() -> Turn:
        count = _draw(spec.input_tokens, generator)
        text = (
            words(count, generator)
            if tokenizer is None
            else tokenizer.text_of(count, generator)
        )
        return Turn(messages=(_said(text),), max_tokens=_output_limit(spec, generator))

    return [
        tuple(turn() for _ in range(_draw(spec.turns, generator)))
        for _ in range(spec.prompts)
    ]


def _draw(lengths: Lengths, generator: np.random.Generator) -> int:
    if not lengths.deviation:
        return round(lengths.mean)
    return max(round(generator.normal(lengths.mean, lengths.deviation)), 1)


def conversations(
    sources: Sequence[str],
    spec: GenerationSpec,
    *,
    seed: int,
    tokenizer: Tokenizer | None,
) -> list[Conversation]:
    """Return the conversations of all files, or generated ones for `random`.

    Raises:
        SpecError: a source is neither, or cannot be read.
    """
    if tuple(sources) == ("random",):
        return generate_prompts(spec, seed=seed, tokenizer=tokenizer)
    found: list[Conversation] = []
    for source in sources:
        if not source.endswith(SUFFIX):
            raise SpecError(
                f"--input-data {source}: prompts are in a {SUFFIX} file",
                hint=f"a line is {_EXAMPLE}; without the option prompts are generated",
            )
        found += read_prompts(Path(source), spec, seed=seed)
    return found
