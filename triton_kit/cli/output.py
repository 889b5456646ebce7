"""How the command line prints: streams, colour, and text that others wrote.

Reports go to standard output, everything else to standard error. Text of servers and
repositories is escaped here, and only here, so that it cannot move the cursor, recolour
the terminal or forge a command of a CI service.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from rich.console import Console

Color = Literal["auto", "always", "never"]
# C0 without tab and newline, DEL and C1, and the marks that reorder text.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_WORKFLOW_COMMAND = re.compile(r"^(\s*)(::(?=[A-Za-z])|##\[)", re.MULTILINE)
_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


@dataclass(slots=True)
class OutputSettings:
    """The options that every command has: what is printed, and how."""

    color: Color = "auto"
    quiet: bool = False
    verbosity: int = 0
    debug: bool = False


settings = OutputSettings()


def escape_controls(text: str) -> str:
    """Replace control characters by their escapes, and disarm commands of CI services.

    Tabs and newlines stay.
    """
    shown = _CONTROLS.sub(lambda found: _escape(found[0]), text)
    return _WORKFLOW_COMMAND.sub(lambda m: m[1] + _escape(m[2][0]) + m[2][1:], shown)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def echo(text: str, *, nl: bool = True, fg: str | None = None) -> None:
    """Print a report on standard output."""
    _write(escape_controls(text), err=False, nl=nl, fg=fg)


def echo_workflow_commands(text: str) -> None:
    """Print commands for a CI service, whose values are escaped already."""
    _write(_CONTROLS.sub(lambda found: _escape(found[0]), text), err=False)


def echo_json(document: object) -> None:
    """Print one JSON document on standard output."""
    _write(json.dumps(document, indent=2), err=False)


def echo_json_line(document: object) -> None:
    """Print a JSON document as one line, for a reader that waits for a line."""
    _write(json.dumps(document), err=False)


def notice(text: str, *, fg: str | None = None) -> None:
    """Print progress or a next step on standard error; `-q` silences it."""
    if not settings.quiet:
        _write(escape_controls(text), err=True, fg=fg)


def warn(text: str) -> None:
    """Print a warning on standard error; `-q` silences it."""
    notice(f"warning: {text}", fg="yellow")


def show_error(message: str, *, hint: str | None = None) -> None:
    """Print an error, and what the user can do about it, on standard error."""
    _write(escape_controls(f"Error: {message}"), err=True, fg="red")
    if hint:
        _write(escape_controls(f"  hint: {hint}"), err=True, fg="cyan")


def console(*, stderr: bool = False) -> Console:
    """Return a rich console that follows `--color`, NO_COLOR and TERM."""
    from rich.console import Console

    wanted = _wants_color(sys.stderr if stderr else sys.stdout)
    return Console(stderr=stderr, highlight=False, no_color=not wanted)


def _write(text: str, *, err: bool, nl: bool = True, fg: str | None = None) -> None:
    color = _wants_color(sys.stderr if err else sys.stdout)
    styled = click.style(text, fg=fg) if fg and color else text
    click.echo(styled, err=err, nl=nl, color=color)


def _wants_color(stream: IO[str] | None) -> bool:
    """Decide on colour: `--color`, then NO_COLOR and TERM, then the stream."""
    if settings.color != "auto":
        return settings.color == "always"
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream is not None and stream.isatty()


class _LogHandler(logging.Handler):
    """Writes the library's log to standard error as the command line writes."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        text = record.getMessage()
        if record.levelno != logging.INFO:
            text = f"{record.levelname.lower()}: {text}"
        _write(escape_controls(text), err=True)


@contextmanager
def one_run() -> Iterator[None]:
    """Start with default settings, and log to standard error until the end."""
    logger, handler = logging.getLogger("triton_kit"), _LogHandler()
    _reset_settings()
    logger.addHandler(handler)
    level = logger.level
    try:
        set_log_level()
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        _reset_settings()


def show_stages() -> None:
    """Show the stages of long work, which the library logs as information."""
    settings.verbosity = max(1, settings.verbosity)
    set_log_level()


def _reset_settings() -> None:
    settings.color, settings.debug = "auto", False
    settings.quiet, settings.verbosity = False, 0


def set_log_level() -> None:
    """Log what `-q` and `-v` ask for: errors, warnings, information, or everything.

    Does nothing outside of `one_run`: a program that only parses our options keeps
    the levels of its own log.
    """
    logger = logging.getLogger("triton_kit")
    if not any(isinstance(handler, _LogHandler) for handler in logger.handlers):
        return
    most = _LEVELS[min(settings.verbosity, len(_LEVELS) - 1)]
    level = logging.ERROR if settings.quiet else most
    logger.setLevel(level)
