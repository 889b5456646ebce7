"""The files that `triton-kit perf` writes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from triton_kit.errors import SpecError

if TYPE_CHECKING:
    from triton_kit.loadtest.results.result import PerfResult


class _OutFile(click.Path):
    """A file to write; `-` is none, as the table goes to standard output."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401  as click has it
        """Refuse what other programs take for standard output."""
        if value == "-":
            option = param.opts[0] if param else "the file"
            raise SpecError(
                f"{option} -: the table goes to standard output, results go to files",
                hint=f"{option} FILE; ./- is a file of that name",
            )
        return super().convert(value, param, ctx)


_OUT = _OutFile(dir_okay=False, path_type=Path)

# By what click calls each option: how it is written, and its help.
OUTPUTS = {
    "json_path": (("--json",), "Write the whole result here."),
    "csv_path": (("-f", "--filename"), "Write perf_analyzer's CSV here."),
    "profile_path": (
        ("--profile-export-file",),
        "Write the times of every request here, as perf_analyzer does.",
    ),
    "hdr_path": (
        ("--hdr-file",),
        "Write the latencies here, for HdrHistogram's tools to read and merge.",
    ),
    "prometheus_path": (
        ("--prometheus",),
        "Write the figures here as Prometheus text.",
    ),
}


def output_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command."""
    command = click.option(
        "--verbose-csv",
        is_flag=True,
        help="More columns for -f; with --collect-metrics those of the GPUs, too.",
    )(command)
    for name, (words, text) in reversed(OUTPUTS.items()):
        command = click.option(*words, name, type=_OUT, help=text)(command)
    return command


def files_read(ctx: click.Context) -> dict[Path, str]:
    """Return the files that the options of a command name to be read, by option."""
    found: dict[Path, str] = {}
    for param in ctx.command.params:
        value = ctx.params.get(param.name or "")
        if param.name == "input_data":
            words = [part for word in value or () for part in _ends(word)]
        elif isinstance(param.type, click.Path) and param.name not in OUTPUTS:
            words = [value] if value else []
        else:
            continue
        for path in map(Path, words):
            found |= {file.resolve(): param.opts[0] for file in _files_of(path)}
    return found


def _ends(word: str) -> list[str]:
    """Return what may be the path in MODEL=INPUT:PATH: names may have colons, too."""
    return [word, *(word[match.end() :] for match in re.finditer("[:=]", word))]


def _files_of(path: Path) -> list[Path]:
    """Return a file itself, or the files in a folder."""
    try:
        files = path.iterdir() if path.is_dir() else [path]
        return [file for file in files if file.is_file()]
    except (OSError, ValueError):  # a long text, or one with a zero in it
        return []


def check_outputs(
    paths: Mapping[str, Path | None], read: Mapping[Path, str] | None = None
) -> None:
    """Try every file before the load: an hour's figures must not end at a typing error.

    Args:
        paths: by the names of `OUTPUTS`.
        read: the files that the command reads, by option.

    Raises:
        SpecError: one cannot be written, is read as well, or two are the same.
    """
    from triton_kit.loadtest.results.files import try_to_write

    taken = dict(read or {})
    for name, path in paths.items():
        if path is None:
            continue
        option = _option(name)
        try:
            try_to_write(path)
        except OSError as error:
            raise _unwritable(option, path, error) from None
        if path.is_file() or not path.exists():
            other = taken.setdefault(path.resolve(), option)
            if other != option:
                raise SpecError(f"{other} and {option} are both {path}")


def write_outputs(
    result: PerfResult, paths: Mapping[str, Path | None], *, verbose_csv: bool
) -> None:
    """Write every file that can be written.

    Raises:
        SpecError: one could not; the first of them.
    """
    from triton_kit.loadtest.results import export
    from triton_kit.loadtest.results.files import write_text
    from triton_kit.loadtest.results.hdr import as_hdr_log

    forms: dict[str, Callable[[PerfResult], str]] = {
        "json_path": lambda result: result.as_text(),
        "csv_path": partial(export.as_csv, verbose=verbose_csv),
        "profile_path": export.as_profile,
        "hdr_path": as_hdr_log,
        "prometheus_path": export.as_prometheus,
    }
    failures = []
    for name, path in paths.items():
        if path is None:
            continue
        try:
            write_text(path, forms[name](result))
        except OSError as error:
            failures.append(_unwritable(_option(name), path, error))
    if failures:
        raise failures[0]


def _option(name: str) -> str:
    words, _ = OUTPUTS[name]
    return words[0]


def _unwritable(option: str, path: Path, error: OSError) -> SpecError:
    return SpecError(
        f"{option} {path} cannot be written: {error.strerror or error}",
        hint="does its folder exist, and may you write there?",
    )
