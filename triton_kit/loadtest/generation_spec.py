"""What to ask of a language model: prompts, lengths, sessions, cancellations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any  # JSON values

from triton_kit.errors import SpecError

_POSSIBLE = "need a mean of 1 or more and a deviation of 0 or more"
# aiperf's and genai-perf's.
_DEFAULT_INPUT_TOKENS = 550


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Normally distributed numbers, rounded, at least 1."""

    mean: float
    deviation: float = 0.0

    def __post_init__(self) -> None:
        if not (1 <= self.mean < math.inf and 0 <= self.deviation < math.inf):
            raise SpecError(f"length {self}: {_POSSIBLE}")

    def __str__(self) -> str:
        return f"{self.mean:g}:{self.deviation:g}"


def parse_lengths(option: str, text: str) -> Lengths:
    """Read `MEAN` or `MEAN:STDDEV`; `option` names it in errors.

    Raises:
        SpecError: it is neither, or such lengths cannot be.
    """
    mean, colon, deviation = text.partition(":")
    hint = f"{option} 512:64; without it the default applies"
    try:
        return Lengths(mean=float(mean), deviation=float(deviation) if colon else 0.0)
    except ValueError:
        raise SpecError(
            f"{option} {text!r}: not of the form MEAN:STDDEV", hint=hint
        ) from None
    except SpecError:
        raise SpecError(f"{option} {text!r}: {_POSSIBLE}", hint=hint) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSpec:
    """Prompts for a language model, and how its tokens are counted.

    Attributes:
        input_tokens: of each generated prompt; prompts from a file have their own.
        output_tokens: the `max_tokens` of each request; None leaves it to the server.
        prompts: how many different prompts, or sessions, are generated.
        turns: of each generated session; a prompt alone is a session of one turn.
        sessions: how many sessions an open loop keeps; in a closed one the
            concurrency says it.
        tokenizer: a tokenizer.json: makes prompts of exact lengths, and counts tokens
            of responses without usage.
        extra: further fields of each request, or inputs of a Triton model.
        cancelled_share: of the requests, which the client cancels `cancel_after_s`
            after it sent them.
    """

    input_tokens: Lengths = Lengths(mean=_DEFAULT_INPUT_TOKENS)
    output_tokens: Lengths | None = None
    prompts: int = 1000
    turns: Lengths = Lengths(mean=1)
    sessions: int = 4
    tokenizer: Path | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    cancelled_share: float = 0.0
    cancel_after_s: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the spec as it stands in the JSON result."""
        return asdict(self) | {"tokenizer": self.tokenizer and str(self.tokenizer)}

    def __post_init__(self) -> None:
        for what, value in (("prompts", self.prompts), ("sessions", self.sessions)):
            if value < 1:
                raise SpecError(f"{value} {what}: need 1 or more")
        if not 0 <= self.cancelled_share <= 1:
            raise SpecError(
                f"cancellation of {self.cancelled_share:.0%} of the requests: need "
                "0 to 100 %"
            )
        if not 0 <= self.cancel_after_s < math.inf:
            raise SpecError(
                f"cancellation after {self.cancel_after_s:g} s: need 0 or more"
            )
