"""A YAML file as plain data that still knows the line of every value."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from triton_kit.errors import SpecError, TritonKitError
from triton_kit.files import read_text

Key: TypeAlias = str | int
Keys: TypeAlias = tuple[Key, ...]
Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"

# YAML's `<<: *base`: the keys of another mapping, where this one does not set them.
_MERGE = "tag:yaml.org,2002:merge"
# PyYAML reads about 200 kB in a second.
_MOST_BYTES = 1 << 20
# An alias is a reference: a few hundred bytes of them can stand for 10**9 values.
_MOST_VALUES = 100_000
_MOST_LEVELS = 100
_SECRET_LENGTH = 8  # a shorter value may be part of any word
_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Document:
    """The values of a YAML file, and the line of each.

    `lines` has the line (from 1) of every value by its path of keys and indices; of a
    mapping's entry, the line of its key. `variables` has the values that came from the
    environment, by `${NAME}`.
    """

    path: Path
    data: dict[str, Plain]
    lines: Mapping[Keys, int]
    variables: Mapping[str, str] = field(default_factory=dict)

    def place(self, keys: Sequence[Key]) -> str:
        """Return `file:line` of a value, or of the nearest thing that holds it."""
        for length in range(len(keys), 0, -1):
            line = self.lines.get(tuple(keys[:length]))
            if line is not None:
                return f"{self.path}:{line}"
        return str(self.path)

    @contextmanager
    def hiding_variables(self) -> Iterator[None]:
        """Put `${NAME}` for its value into errors and the log: it may be a secret."""
        handlers = logging.getLogger("triton_kit").handlers[:]
        for handler in handlers:
            handler.addFilter(self._hide_in_record)
        try:
            yield
        except TritonKitError as error:
            error.message = self.without_values(error.message)
            error.hint = error.hint and self.without_values(error.hint)
            error.args = (error.message,)
            raise error from None
        finally:
            for handler in handlers:
                handler.removeFilter(self._hide_in_record)

    def _hide_in_record(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.without_values(record.getMessage()), None
        return True

    def without_values(self, text: str) -> str:
        """Return a text with `${NAME}` for each value that came from a variable."""
        # The longest first: one may be the beginning of another.
        by_length = sorted(self.variables.items(), key=lambda item: -len(item[1]))
        for name, value in by_length:
            if len(value) >= _SECRET_LENGTH:
                # As it is, and as a message quotes it.
                for written in (value, repr(value)[1:-1]):
                    text = text.replace(written, name)
        return text


def read_document(
    path: Path, *, env: Mapping[str, str], text: str | None = None
) -> Document:
    """Read a YAML mapping; `${VAR}` and `${VAR:-default}` are taken from `env`.

    Args:
        path: the file; errors name it.
        env: the variables, by name.
        text: what the file will contain, where it is not written yet.

    Raises:
        SpecError: unreadable, not YAML, not a mapping, a key twice, nested too deeply,
            a missing variable; each with its line.
    """
    try:
        if text is None:
            text = read_text(path, limit=_MOST_BYTES)
        return _document(path, text, env)
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(path, error) from error
    except yaml.YAMLError as error:
        raise SpecError(f"{path}: not YAML: {error}") from error
    except RecursionError as error:
        raise SpecError(f"{path}: nested too deeply to be read") from error


def _document(path: Path, text: str, env: Mapping[str, str]) -> Document:
    root = yaml.compose(text, Loader=_Loader)
    if not isinstance(root, yaml.MappingNode):
        raise SpecError(
            f"{path}: expected a mapping of keys, found "
            f"{'nothing' if root is None else root.tag.rpartition(':')[2]}",
            hint="`triton-kit new digits DIR` writes a project to start from",
        )
    reader = _Reader(path, env)
    data = reader.mapping(root, ())
    return Document(path, data, reader.lines, reader.variables)


def _not_yaml(path: Path, error: yaml.MarkedYAMLError) -> SpecError:
    mark = error.problem_mark
    place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
    line = mark.buffer.splitlines()[mark.line] if mark and mark.buffer else ""
    if "\t" in line:
        return SpecError(
            f"{place}: a tab indents this line, YAML requires spaces",
            hint="replace the tab by spaces",
        )
    return SpecError(f"{place}: not YAML: {error.problem or error.context}")


def _merged_nodes(node: yaml.MappingNode) -> Iterator[yaml.Node]:
    for key, value in node.value:
        if key.tag == _MERGE:
            yield from value.value if isinstance(value, yaml.SequenceNode) else [value]


class _Loader(yaml.SafeLoader):
    """Composes nodes down to a depth: PyYAML's time grows with its square, or worse."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _MOST_LEVELS:
            raise RecursionError
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Reader:
    """Turns YAML nodes into plain data and notes the line of each."""

    def __init__(self, path: Path, env: Mapping[str, str]) -> None:
        self.lines: dict[Keys, int] = {}
        self._path = path
        self._env = env
        self._yaml: Any = yaml.SafeLoader("")  # its resolver has no types
        self._open: set[int] = set()
        self._values = 0
        self.variables: dict[str, str] = {}

    def mapping(self, node: yaml.MappingNode, keys: Keys) -> dict[str, Plain]:
        data: dict[str, Plain] = {}
        merged = self._merged(node, keys)
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                continue
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key in data:
                raise SpecError(f"{self._path}:{line}: {key!r} is there twice")
            data[key] = self._value(value_node, (*keys, key))
            self.lines[(*keys, key)] = line
        return merged | data

    def _merged(self, node: yaml.MappingNode, keys: Keys) -> dict[str, Plain]:
        """Return the entries of merge keys; of equal keys the first one wins."""
        found: dict[str, Plain] = {}
        line = self.lines.get(keys)
        for part in _merged_nodes(node):
            value = self._value(part, keys)
            if not isinstance(value, dict):
                place = f"{self._path}:{node.start_mark.line + 1}"
                raise SpecError(f"{place}: '<<' takes a mapping, or a list of them")
            found = value | found
        if line is not None:
            self.lines[keys] = line  # where this mapping is, not what it takes in
        return found

    def _value(self, node: yaml.Node, keys: Keys) -> Plain:
        line = self.lines[keys] = node.start_mark.line + 1
        self._values += 1
        if self._values > _MOST_VALUES:
            raise SpecError(
                f"{self._path}:{line}: more than {_MOST_VALUES} values, each alias "
                "counted as what it repeats"
            )
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:  # an alias inside its own anchor
            raise SpecError(f"{self._path}:{self.lines[keys]}: refers to itself")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self.mapping(node, keys)
            return [
                self._value(item, (*keys, index))
                for index, item in enumerate(node.value)
            ]
        finally:
            self._open.remove(id(node))

    def _scalar(self, node: yaml.ScalarNode) -> Plain:
        written = node.value
        if "${" in written:
            plain = node.style is None
            text = _VARIABLE.sub(lambda match: self._variable(match, node), node.value)
            tag = self._yaml.resolve(yaml.ScalarNode, text, (plain, not plain))
            node = yaml.ScalarNode(tag, text, node.start_mark, node.end_mark)
        try:
            value = self._yaml.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            line = node.start_mark.line + 1
            reason = f": {error}" if written == node.value else ""
            raise SpecError(
                f"{self._path}:{line}: {written!r} is not a value of YAML{reason}"
            ) from None
        if isinstance(value, int | float) and ":" in node.value:
            return str(node.value)  # 1:16:5 is a range, not YAML 1.1's base 60
        return value if isinstance(value, bool | int | float | None) else str(value)

    def _variable(self, match: re.Match[str], node: yaml.ScalarNode) -> str:
        name, default = match.groups()
        value = self._env.get(name) or default
        if value and value != default:
            self.variables[f"${{{name}}}"] = value
        if value is None:
            raise SpecError(
                f"{self._path}:{node.start_mark.line + 1}: "
                f"environment variable {name} is not set",
                hint=f"export {name}=..., or write ${{{name}:-default}}",
            )
        return value
