"""The differences between configs, models or repositories: in meaning, not in text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from triton_kit.errors import RepositoryError
from triton_kit.files import read_bytes
from triton_kit.repository.check.folder import CONFIG_NAME
from triton_kit.repository.config.parse import parse
from triton_kit.repository.config.parse_json import parse_json
from triton_kit.repository.config.values import is_map, quote, scalar_text
from triton_kit.triton.schema import FieldType, Message, ModelConfig

# What names the items of a list, so that a new first item does not change all others.
_KEYS = ("name", "model_name", "input_name")
# A text has none of these; an ONNX file begins with one, a plan soon has zeros.
_NOT_IN_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_HEAD_BYTES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One field that differs.

    Attributes:
        model: the model's name, where whole repositories are compared.
        field: `input["a"].dims`; empty for a model as a whole.
        before: its value; None where it was added.
        after: its value; None where it was removed.
    """

    model: str
    field: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        where = " ".join(filter(None, (self.model, self.field)))
        if self.before is None:
            return f"+ {where}: {self.after}"
        if self.after is None:
            return f"- {where}: {self.before}"
        return f"~ {where}: {self.before} -> {self.after}"


def config_changes(before: Message, after: Message, *, model: str = "") -> list[Change]:
    """Return the fields that two configs do not share, in the order of the schema."""
    old, new = dict(_flat(before)), dict(_flat(after))
    names = [*old, *(name for name in new if name not in old)]
    return [
        Change(model=model, field=name, before=old.get(name), after=new.get(name))
        for name in names
        if old.get(name) != new.get(name)
    ]


def changes(before: Path, after: Path) -> list[Change]:
    """Compare two config files, two model folders or two repositories.

    Raises:
        RepositoryError: one of them is not there, no config, or of another kind.
    """
    old, new = read_configs(before), read_configs(after)
    if None in old and None in new:
        return config_changes(old[None], new[None])
    if None in old or None in new:
        raise RepositoryError(
            f"{before} and {after} cannot be compared: one is a repository, the other "
            "a model",
            hint="name two repositories, two models, or two files",
        )
    found = []
    for name in sorted({str(n) for n in (*old, *new)}):
        if name not in new:
            found.append(Change(model=name, field="", before="a model", after=None))
        elif name not in old:
            found.append(Change(model=name, field="", before=None, after="a model"))
        else:
            found += config_changes(old[name], new[name], model=name)
    return found


def read_configs(path: Path) -> dict[str | None, Message]:
    """Return the configs of a repository by model; under None that of one model.

    Raises:
        RepositoryError: there is nothing, or a config that cannot be read.
    """
    if path.is_file():
        return {None: _config(path)}
    if (path / CONFIG_NAME).is_file():
        return {None: _config(path / CONFIG_NAME)}
    if not path.is_dir():
        raise RepositoryError(f"{path}: there is no such file or folder")
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir())
    configs = {f.name: f / CONFIG_NAME for f in folders}
    return {
        name: _config(file) if file.is_file() else ModelConfig()
        for name, file in configs.items()
    }


def _config(path: Path) -> Message:
    read = parse_json if path.suffix == ".json" else parse
    content = read_bytes(path)
    if _NOT_IN_TEXT.search(content[:_HEAD_BYTES]):
        raise RepositoryError(
            f"{path}: expected a config, found no text",
            hint="diff compares configs, models' folders and repositories, not model "
            "files: triton-kit inspect shows what is in those",
        )
    return read(content, path=path).config


def _flat(message: Message, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield each field that is set, as `path, value`; empty messages as `{ }`."""
    for field, value in message.ListFields():
        yield from _flat_field(field, value, f"{prefix}{field.name}")


def _flat_field(
    field: FieldType, value: Message, path: str
) -> Iterator[tuple[str, str]]:
    if is_map(field):
        for key in sorted(value):
            place = f"{path}[{quote(key) if isinstance(key, str) else key}]"
            if hasattr(value[key], "ListFields"):
                yield from _flat_message(value[key], place)
            else:
                yield place, quote(value[key])
    elif field.message_type is not None and field.is_repeated:
        for key, item in _keyed(value):
            yield from _flat_message(item, f"{path}[{key}]")
    elif field.message_type is not None:
        yield from _flat_message(value, path)
    else:
        yield path, _text(field, value)


def _flat_message(message: Message, path: str) -> Iterator[tuple[str, str]]:
    found = list(_flat(message, f"{path}."))
    yield from found or [(path, "{ }")]


def _keyed(items: Message) -> list[tuple[str, Message]]:
    names = [_name(item) for item in items]
    is_telling = all(names) and len(set(names)) == len(names)
    return [
        (quote(name) if is_telling else str(number), item)
        for number, (name, item) in enumerate(zip(names, items, strict=True))
    ]


def _name(item: Message) -> str:
    fields = item.DESCRIPTOR.fields_by_name
    key = next((k for k in _KEYS if k in fields), None)
    return str(getattr(item, key)) if key else ""


def _text(field: FieldType, value: Message) -> str:
    """Write a value as text format does."""
    if field.is_repeated:
        return "[ " + ", ".join(scalar_text(field, item) for item in value) + " ]"
    return scalar_text(field, value)
