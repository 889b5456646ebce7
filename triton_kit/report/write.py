"""`triton_kit.write_report`: results into one file that people open."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.files import write_whole
from triton_kit.report.compose import compose
from triton_kit.report.document import Document
from triton_kit.report.result_files import read_results

Format = Literal["html", "png", "svg", "markdown", "text"]
FORMATS: tuple[Format, ...] = ("html", "png", "svg", "markdown", "text")
_SUFFIXES: dict[str, Format] = {
    ".html": "html",
    ".htm": "html",
    ".png": "png",
    ".svg": "svg",
    ".md": "markdown",
    ".txt": "text",
}


def write_report(
    results: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    format: Format | None = None,
    title: str | None = None,
) -> Path:
    """Write a report of results that perf, tune and convert left.

    Args:
        results: files, or folders of files: `perf --json`, the folder of `tune`,
            manifests of `convert`.
        output: the file to write; one that is there is replaced.
        format: `html`, `png`, `svg`, `markdown` or `text`; None: by the name of
            `output`.
        title: of the report; None: what the results are about.

    Returns:
        The file.

    Raises:
        SpecError: a result cannot be read, is of another schema, or is `output`.
        MissingExtraError: a picture needs the extra `report`.
        OSError: `output` cannot be written.
    """
    paths = _paths(results)
    path = Path(output)
    chosen = format or format_of(path)
    sources = read_results(paths)
    refuse_input(path, [source.path for source in sources])
    write_whole(path, _renderer(chosen)(compose(sources, title=title)))
    return path


def render_report(
    paths: Sequence[Path],
    format: Format,
    *,
    title: str | None = None,
) -> str | bytes:
    """Return the content of a report; bytes of a PNG, else text.

    Raises:
        SpecError: a result cannot be read, or there is no such format.
    """
    return _renderer(format)(compose(read_results(paths), title=title))


def format_of(path: Path) -> Format:
    """Return the format that a file's name asks for.

    Raises:
        SpecError: it asks for none.
    """
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise SpecError(
            f"{path}: no format is known by {suffix or 'a name without a suffix'}",
            hint=f"known: {', '.join(_SUFFIXES)}; or give --format",
        )
    return _SUFFIXES[suffix]


def refuse_input(output: Path, paths: Iterable[Path]) -> None:
    """Refuse to replace a result by its report.

    Raises:
        SpecError: the output is one of the results, or a folder.
    """
    if output.is_dir():
        raise SpecError(f"{output}: it is a folder", hint=f"-o {output}/report.html")
    if not output.exists():
        return
    for path in paths:
        if path.exists() and output.samefile(path):
            raise SpecError(
                f"{output}: the report would replace this result",
                hint="give the report another name",
            )


def _paths(
    results: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
) -> list[Path]:
    each = [results] if isinstance(results, (str, os.PathLike)) else results
    paths = [Path(result) for result in each]
    if not paths:
        raise SpecError("no result is given", hint="perf --json FILE writes one")
    return paths


def _renderer(format: Format) -> Callable[[Document], str | bytes]:
    """Import what one format needs, and nothing else."""
    if format not in FORMATS:
        raise SpecError(
            f"format {format!r}: no such format", hint=did_you_mean(format, FORMATS)
        )
    if format == "html":
        from triton_kit.report.html import as_html

        return as_html
    if format == "markdown":
        from triton_kit.report.markdown import as_markdown

        return as_markdown
    if format == "text":
        from triton_kit.report.text import as_text

        return as_text
    from triton_kit.report.picture import as_png, as_svg

    return as_png if format == "png" else as_svg
