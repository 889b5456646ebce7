"""Every error this package raises on purpose, and the exit code of each.

TritonKitError            1   base; carries a hint when one is known
├── SpecError             2   the caller asked for something that cannot be
├── ConvertError          3   a model could not be read, rewritten or built
├── VerifyError           4   the artifact is there but its outputs differ
├── ServerError           5   Triton did not start, or died, or refused a model
├── TransportError        6   a request could not be sent, or has no response
├── RepositoryError       7   a model repository on disk is not what it must be
└── MissingExtraError     8   a part of the kit that is not installed is needed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class TritonKitError(Exception):
    """What went wrong, and what the reader can do about it."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class SpecError(TritonKitError):
    """The request is impossible before any work starts."""

    exit_code = 2


class ConvertError(TritonKitError):
    """A model could not be read, rewritten or built."""

    exit_code = 3


class VerifyError(TritonKitError):
    """An artifact was built, but its outputs are not those of its source."""

    exit_code = 4


class ServerError(TritonKitError):
    """Triton did not become ready, stopped while in use, or refused a model."""

    exit_code = 5


class TransportError(TritonKitError):
    """A request could not be sent, or its response could not be read."""

    exit_code = 6


class RepositoryError(TritonKitError):
    """A model repository on disk is not what it must be."""

    exit_code = 7


class MissingExtraError(TritonKitError):
    """An optional part of the kit is needed and not installed."""

    exit_code = 8

    def __init__(self, what: str, *, extra: str) -> None:
        super().__init__(
            f"{what} is not installed", hint=f"pip install 'triton_kit[{extra}]'"
        )


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that `word` was probably meant to be."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint: the nearest known word, or else all of them."""
    known = sorted(known)
    match = nearest(word, known)
    return f"did you mean {match!r}?" if match else f"known: {', '.join(known)}"
