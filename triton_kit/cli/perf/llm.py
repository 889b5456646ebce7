"""Prompts for language models, how their tokens are counted, and cancellations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: JSON values

import click

from triton_kit.cli.options import PATH_TO_READ
from triton_kit.cli.perf.group import COUNT, option
from triton_kit.errors import SpecError

if TYPE_CHECKING:
    from triton_kit.loadtest.generation_spec import GenerationSpec

_PROMPTS = ".jsonl"

OPTIONS = (
    option(
        "--input-tokens",
        "--isl",
        "input_tokens",
        metavar="MEAN[:STDDEV]",
        help="Tokens of each generated prompt.  [default: 550]",
    ),
    option(
        "--output-tokens",
        "--osl",
        "output_tokens",
        metavar="MEAN[:STDDEV]",
        help="Most tokens of each response (max_tokens). Default: the server's.",
    ),
    option(
        "--num-dataset-entries",
        "prompts",
        type=COUNT,
        metavar="N",
        help="Different prompts, or sessions, to generate.  [default: 1000]",
    ),
    option(
        "--session-turns",
        "turns",
        metavar="MEAN[:STDDEV]",
        help="Turns of each generated session; each has the responses before it.  "
        "[default: 1]",
    ),
    option(
        "--tokenizer",
        type=PATH_TO_READ,
        metavar="FILE",
        help="tokenizer.json: exact lengths of prompts, and tokens of responses "
        "without usage.",
    ),
    option(
        "--extra-inputs",
        "extra",
        multiple=True,
        metavar="NAME:VALUE",
        help="Field of every request, such as temperature:0; VALUE is JSON or a text. "
        "Repeatable.",
    ),
    option(
        "--request-cancellation-rate",
        "cancelled_percent",
        type=click.FloatRange(0, 100),
        metavar="PERCENT",
        help="Cancel this share of the requests, chosen at random.",
    ),
    option(
        "--request-cancellation-delay",
        "cancel_after_s",
        type=click.FloatRange(min=0),
        metavar="SECONDS",
        help="With --request-cancellation-rate: seconds from the send to the "
        "cancellation.  [default: 0]",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmOptions:
    """What to ask of a language model; no option is for another load."""

    endpoint: str
    input_data: tuple[str, ...]
    input_tokens: str | None
    output_tokens: str | None
    prompts: int | None
    turns: str | None
    tokenizer: Path | None
    extra: tuple[str, ...]
    cancelled_percent: float | None
    cancel_after_s: float | None
    num_of_sequences: int

    def __post_init__(self) -> None:
        if self.cancel_after_s is not None and not self.cancelled_percent:
            raise SpecError(
                f"--request-cancellation-delay {self.cancel_after_s:g}, but no request "
                "is cancelled",
                hint="--request-cancellation-rate PERCENT",
            )
        generated = {
            "--input-tokens": self.input_tokens,
            "--num-dataset-entries": self.prompts,
            "--session-turns": self.turns,
        }
        for name, value in generated.items():
            if value is not None and self._has_file:
                raise SpecError(
                    f"{name} {value}, but the prompts are those of "
                    f"{' and '.join(self.input_data)}",
                    hint="leave one of them out",
                )

    @property
    def _has_file(self) -> bool:
        return any(word.endswith(_PROMPTS) for word in self.input_data)

    def generation(self) -> GenerationSpec | None:
        """Return the prompts, if the endpoint or an option asks for any.

        Raises:
            SpecError: an option cannot be read.
        """
        from triton_kit.loadtest.generation_spec import GenerationSpec, parse_lengths
        from triton_kit.loadtest.transport_spec import OPENAI_ENDPOINTS

        given: dict[str, Any] = {
            field: parse_lengths(name, text)
            for field, name, text in (
                ("input_tokens", "--input-tokens", self.input_tokens),
                ("output_tokens", "--output-tokens", self.output_tokens),
                ("turns", "--session-turns", self.turns),
            )
            if text is not None
        }
        given |= {
            field: value
            for field, value in (
                ("prompts", self.prompts),
                ("tokenizer", self.tokenizer),
                ("cancelled_share", (self.cancelled_percent or 0) / 100),
                ("cancel_after_s", self.cancel_after_s),
                ("extra", _fields(self.extra)),
            )
            if value
        }
        is_openai = self.endpoint in OPENAI_ENDPOINTS
        if not (given or is_openai or self._has_file):
            return None
        return GenerationSpec(**given, sessions=self.num_of_sequences)


def _fields(words: Sequence[str]) -> dict[str, Any]:
    """Read NAME:VALUE, whose VALUE is JSON, or else a text."""
    fields: dict[str, Any] = {}
    for word in words:
        name, colon, text = word.partition(":")
        if not name or not colon:
            raise SpecError(
                f"--extra-inputs {word!r}: not of the form NAME:VALUE",
                hint="such as temperature:0",
            )
        try:
            fields[name] = json.loads(text)
        except ValueError:
            fields[name] = text
    return fields
