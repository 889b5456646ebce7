"""The files that `triton-kit perf` writes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: what click hands over

import click

from triton_kit.cli.perf.group import option
from triton_kit.errors import SpecError

if TYPE_CHECKING:
    from triton_kit.loadtest.results.result import PerfResult

_STDOUT = Path("-")


class _OutFile(click.Path):
    """A file to write; `-` is refused, as the table goes to standard output."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401  as click has it
        """Refuse the word that other programs use for standard output."""
        if value == "-":
            name = param.opts[0] if param else "the file"
            raise SpecError(
                f"{name} -: the table goes to standard output, results go to files",
                hint=f"{name} FILE; ./- is a file of that name",
            )
        return super().convert(value, param, ctx)


_OUT = _OutFile(dir_okay=False, path_type=Path)

JSON = option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path),
    is_flag=False,
    flag_value="-",
    metavar="[FILE]",
    help="Result as JSON, in FILE or on standard output.",
)
OPTIONS = (
    option(
        "--histogram",
        is_flag=True,
        help="Draw the latencies of each run below the table.",
    ),
    option(
        "-f",
        "--filename",
        "csv_path",
        type=_OUT,
        metavar="FILE",
        help="Write perf_analyzer's CSV to this file.",
    ),
    option(
        "--verbose-csv",
        is_flag=True,
        help="With -f: more columns; with --collect-metrics also those of the GPUs.",
    ),
    option(
        "--profile-export-file",
        "profile_path",
        type=_OUT,
        metavar="FILE",
        help="Write the times of every request to this file, as perf_analyzer does.",
    ),
    option(
        "--hdr-file",
        "hdr_path",
        type=_OUT,
        metavar="FILE",
        help="Write the latencies to this file, as an HdrHistogram log.",
    ),
    option(
        "--prometheus",
        "prometheus_path",
        type=_OUT,
        metavar="FILE",
        help="Write the figures to this file, as Prometheus text.",
    ),
)
# The names of the options, by field.
_NAMES = {
    "json_path": "--json",
    "csv_path": "-f",
    "profile_path": "--profile-export-file",
    "hdr_path": "--hdr-file",
    "prometheus_path": "--prometheus",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """Where results go beside the table."""

    json_path: Path | None
    histogram: bool
    csv_path: Path | None
    verbose_csv: bool
    profile_path: Path | None
    hdr_path: Path | None
    prometheus_path: Path | None

    def __post_init__(self) -> None:
        if self.verbose_csv and self.csv_path is None:
            raise SpecError("--verbose-csv, but no CSV is written", hint="-f FILE")

    @property
    def keep_times(self) -> bool:
        """Whether the times of every request are needed."""
        return self.profile_path is not None

    @property
    def is_json_on_stdout(self) -> bool:
        """Whether standard output is for the JSON document alone."""
        return self.json_path == _STDOUT

    def _paths(self) -> Iterator[tuple[str, Path]]:
        """Yield the field and the path of every file to write."""
        for field in _NAMES:
            path: Path | None = getattr(self, field)
            if path is not None and path != _STDOUT:
                yield field, path

    def check(self, read: dict[Path, str]) -> None:
        """Try every file before the load: a typing error must not cost an hour's work.

        Args:
            read: the files that the command reads, each with its option.

        Raises:
            SpecError: a file cannot be written, is read as well, or two are the same.
        """
        from triton_kit.loadtest.results.files import try_to_write

        taken = dict(read)
        for field, path in self._paths():
            name = _NAMES[field]
            try:
                try_to_write(path)
            except OSError as error:
                raise _unwritable(name, path, error) from None
            if path.is_file() or not path.exists():
                other = taken.setdefault(path.resolve(), name)
                if other != name:
                    raise SpecError(f"{other} and {name} are both {path}")

    def write(self, result: PerfResult) -> None:
        """Write every file that can be written.

        Raises:
            SpecError: a file could not be written; the first of them.
        """
        from triton_kit.loadtest.results import export
        from triton_kit.loadtest.results.files import write_text
        from triton_kit.loadtest.results.hdr import as_hdr_log

        forms: dict[str, Callable[[], str]] = {
            "json_path": result.as_text,
            "csv_path": lambda: export.as_csv(result, verbose=self.verbose_csv),
            "profile_path": lambda: export.as_profile(result),
            "hdr_path": lambda: as_hdr_log(result),
            "prometheus_path": lambda: export.as_prometheus(result),
        }
        failures = []
        for field, path in self._paths():
            try:
                write_text(path, forms[field]())
            except OSError as error:
                failures.append(_unwritable(_NAMES[field], path, error))
        if self.is_json_on_stdout:
            click.echo(result.as_text(), nl=False)
        if failures:
            raise failures[0]


def files_read(ctx: click.Context) -> dict[Path, str]:
    """Return the files that the options of a command name to be read, by option."""
    found: dict[Path, str] = {}
    for param in ctx.command.params:
        value = ctx.params.get(param.name or "")
        if param.name == "input_data":
            words = [part for word in value or () for part in _ends(word)]
        elif isinstance(param.type, click.Path) and param.name not in _NAMES:
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


def _unwritable(name: str, path: Path, error: OSError) -> SpecError:
    return SpecError(
        f"{name} {path} cannot be written: {error.strerror or error}",
        hint="check that its folder exists and that you may write there",
    )
