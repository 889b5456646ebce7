"""A config.pbtxt in the canonical layout, with the comments people wrote."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from triton_kit.errors import RepositoryError
from triton_kit.files import read_bytes, write_whole
from triton_kit.repository.config.parse import ParsedConfig, parse
from triton_kit.repository.config.places import Node, Step
from triton_kit.repository.config.render import render
from triton_kit.repository.config.tokens import END, tokenize

CONFIG_NAME = "config.pbtxt"
_COMMENT = re.compile(r"#[^\n]*")
_CLOSING = ("}", "]", ">")
FieldPath = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class _Comment:
    """A comment and the field that it describes.

    Attributes:
        text: from its `#` on.
        field: the field; None for the end of the file.
        where: `above` or `below` the field's line, or `behind` it.
    """

    text: str
    field: FieldPath | None
    where: str


def format_config(text: str | bytes, *, path: Path = Path("config.pbtxt")) -> str:
    """Return a config in the canonical layout; every comment stays with its field.

    Raises:
        ConfigSyntaxError: the text is no config.
        RepositoryError: the result would mean something else, or lose a comment.
    """
    _require_utf8(text, path)
    parsed = parse(text, path=path)
    comments = list(_comments(parsed))
    plain = render(parsed.config)
    formatted = _with_comments(plain, comments)
    again = parse(formatted, path=path)
    if again.config != parsed.config or _bag(again) != _bag(parsed):
        raise RepositoryError(
            f"{path}: the canonical layout would lose something; it is left as it is",
            hint="comments in the middle of a value are hard to keep: move them",
        )
    return formatted


def _require_utf8(text: str | bytes, path: Path) -> None:
    if isinstance(text, str):
        return
    try:
        text.decode()
    except UnicodeDecodeError as error:
        line = text[: error.start].count(b"\n") + 1
        raise RepositoryError(
            f"{path}:{line}: byte 0x{text[error.start]:02x} is not UTF-8; the file is "
            "left as it is",
            hint=f"convert it first: iconv -f latin1 -t utf-8 {shlex.quote(str(path))}",
        ) from error


def _bag(parsed: ParsedConfig) -> list[str]:
    return sorted(comment.text for comment in _comments(parsed))


def _comments(parsed: ParsedConfig) -> Iterator[_Comment]:
    """Find each comment, and the field that it most likely means."""
    source = parsed.places.source
    tokens = tokenize(source)
    fields = sorted(_fields(parsed.places.root))
    end = 0
    for kind, text, offset in zip(
        tokens.types, tokens.texts, tokens.offsets, strict=True
    ):
        for found in _COMMENT.finditer(source, end, offset):
            before = [field for start, field in fields if start < found.start()]
            after = [field for start, field in fields if start >= found.start()]
            is_behind = source[end : found.start()].count("\n") == 0 and end > 0
            words = found[0].encode("latin-1").decode(errors="replace").rstrip()
            if is_behind and before:
                yield _Comment(words, before[-1], "behind")
            elif kind != END and text in _CLOSING and before:
                yield _Comment(words, before[-1], "below")
            else:
                yield _Comment(words, after[0] if after else None, "above")
        end = offset + len(text)


def _fields(node: Node, path: FieldPath = ()) -> Iterator[tuple[int, FieldPath]]:
    for name, place in node.fields.items():
        yield from _places((*path, name), place)


def _places(path: FieldPath, place: object) -> Iterator[tuple[int, FieldPath]]:
    if isinstance(place, Node):
        yield place.offset, path
        yield from _fields(place, path)
    elif isinstance(place, list):
        for number, item in enumerate(place):
            yield from _places((*path, number), item)
    elif isinstance(place, dict):
        for key, item in place.items():
            yield from _places((*path, key), item)
    elif isinstance(place, int):
        yield place, path


def _with_comments(text: str, comments: list[_Comment]) -> str:
    places = parse(text)
    lines = text.splitlines()
    above: dict[int, list[str]] = {}
    below: dict[int, list[str]] = {}
    for comment in comments:
        row = len(lines)
        if comment.field is not None:
            row = max(places.place(*comment.field).line - 1, 0)
        if comment.where == "behind" and row < len(lines):
            lines[row] += f"  {comment.text}"
            continue
        indent = ""
        if row < len(lines):
            indent = lines[row][: len(lines[row]) - len(lines[row].lstrip())]
        side = below if comment.where == "below" else above
        side.setdefault(row, []).append(indent + comment.text)
    result = []
    for row, line in enumerate(lines):
        result += [*above.get(row, ()), line, *below.get(row, ())]
    result += above.get(len(lines), [])
    return "\n".join(result) + "\n"


def config_files(path: Path) -> list[Path]:
    """Return a file, or the configs in a folder, sorted.

    Raises:
        RepositoryError: a folder has none.
    """
    if not path.is_dir():
        return [path]
    found = sorted(path.rglob(CONFIG_NAME))
    if not found:
        raise RepositoryError(f"{path}: there is no {CONFIG_NAME} in it")
    return found


def format_file(path: Path, *, write: bool = True) -> bool:
    """Bring a file into the canonical layout; return whether it was in another one.

    Raises:
        RepositoryError: the file cannot be read or written, or is no config.
    """
    try:
        before = read_bytes(path)
        after = format_config(before, path=path)
        is_other = after.encode() != before
        if write and is_other:
            write_whole(path, after)
    except OSError as error:
        raise RepositoryError(
            f"{path}: cannot be formatted: {error.strerror}"
        ) from error
    return is_other
