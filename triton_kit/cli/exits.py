"""How a command ends: every outcome becomes an exit code, and an error a sentence."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import click

from triton_kit.cli.output import one_run, settings, show_error
from triton_kit.errors import TritonKitError

USAGE, UNEXPECTED, INTERRUPTED, CLOSED_PIPE = 2, 70, 130, 141

# As `triton-kit --help` shows them.
EXIT_CODES = (
    ("0", "success; for a check: no finding"),
    ("1", "negative result: a finding, a difference, a missed objective"),
    ("2", "wrong options, or a named path that cannot be read or written"),
    ("3", "a model could not be read, rewritten or built"),
    ("4", "an artifact's outputs differ too much from those of its source"),
    ("5", "Triton did not start, died, or refused a model"),
    ("6", "a request could not be sent, or its response could not be read"),
    ("7", "the content of a model repository is not valid"),
    ("8", "an optional part of triton-kit is not installed"),
    (str(UNEXPECTED), "an unexpected error: a bug in triton-kit"),
    (str(INTERRUPTED), "interrupted by Ctrl-C (143: by SIGTERM)"),
    (str(CLOSED_PIPE), "the reader of the output closed the pipe"),
)
# What the operating system says of a path that the user chose.
_PATH_ERRORS = {
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ENOTEMPTY,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENXIO,
}


def run_to_exit_code(run: Callable[[], int]) -> int:
    """Run a command, print its error if it has one, and return its exit code."""
    with one_run():
        try:
            with _unwind_at_sigterm():
                code = _exit_code(run)
            _flush()
        except BaseException as error:
            code = _explain(error)
    return code


def _exit_code(run: Callable[[], int]) -> int:
    """Return the exit code that click or `sys.exit` gives."""
    try:
        return run()
    except click.exceptions.Exit as end:
        return end.exit_code
    except SystemExit as end:
        if isinstance(end.code, str):
            raise click.ClickException(end.code) from end
        return end.code or 0


def _explain(error: BaseException) -> int:
    """Print an error in words, with its traceback if `--debug` is set."""
    if settings.debug:
        traceback.print_exception(error)
    match error:
        case TritonKitError():
            show_error(error.message, hint=error.hint)
            return error.exit_code
        case click.ClickException():
            return _explain_usage(error)
        case KeyboardInterrupt() | click.Abort():
            show_error("interrupted")
            return INTERRUPTED
        case BrokenPipeError():
            _discard_output()
            return CLOSED_PIPE
        case OSError() if error.errno in _PATH_ERRORS:
            return _explain_os_error(error)
    return _explain_bug(error)


def _explain_usage(error: click.ClickException) -> int:
    if isinstance(error, click.UsageError) and error.ctx is not None:
        words = error.ctx.command_path
        click.echo(f"{error.ctx.get_usage()}\nTry '{words} -h' for help.\n", err=True)
    show_error(error.format_message())
    return error.exit_code


def _explain_os_error(error: OSError) -> int:
    if error.filename is None:
        _discard_output()
        show_error(f"cannot write the output: {error.strerror}")
    else:
        show_error(f"{os.fsdecode(error.filename)}: {error.strerror}")
    return USAGE


def _explain_bug(error: BaseException) -> int:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    first = (str(error).splitlines() or [""])[0]
    show_error(
        f"unexpected {type(error).__name__}: {first}{place}",
        hint="this is a bug in triton-kit; please report it with the output of --debug",
    )
    return UNEXPECTED


def _flush() -> None:
    """Write what is buffered now, while an error can still be reported."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _discard_output() -> None:
    """Keep Python from writing the remaining output at its exit; it would fail."""
    with suppress(OSError, ValueError):  # a stream without a descriptor
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


@contextmanager
def _unwind_at_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exit, so that child processes and scratch folders go too."""

    def leave(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
