"""Read `triton-kit.yaml`, apply one target to it, and explain what is wrong with it."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.project.document import Document, Key, Plain, read_document
from triton_kit.project.spec import (
    ENVIRONMENT_KEYS,
    NAME_PATTERN,
    OWN_KEYS,
    Project,
    ProjectSpec,
)

FILE_NAME = "triton-kit.yaml"
REPOSITORY_NAME = "model_repository"
# pydantic's words for types are Python's.
_EXPECTED = {
    "tuple_type": "a list, such as [a, b]",
    "list_type": "a list, such as [a, b]",
    "dict_type": "a mapping, such as {key: value}",
    "model_type": "a mapping, such as {key: value}",
    "model_attributes_type": "a mapping, such as {key: value}",
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}
# What Triton and others call a key.
_OTHER_NAMES = {
    "ensembles": "pipelines",
    "ensemble_scheduling": "pipelines",
    "dynamic_batching": "batching",
    "instance_group": "instances",
    "version_policy": "versions",
    "sequence_batching": "sequence",
    "model_warmup": "warmup",
    "path": "source",
    "file": "source",
}


def load_project(
    path: Path, *, target: str | None = None, env: Mapping[str, str] | None = None
) -> Project:
    """Load a project from its folder or its file, as `target` (or the first) sees it.

    Raises:
        SpecError: there is no such file or target, or the file is not valid;
            the message begins with the file and line.
    """
    file = _project_file(path)
    document = read_document(file, env=os.environ if env is None else env)
    with document.hiding_variables():
        return _project(document, file, target)


def check_text(text: str, file: Path) -> None:
    """Refuse the text of a project file, not written yet, that could not be loaded.

    Raises:
        SpecError: as `load_project`.
    """
    _project(read_document(file, env=os.environ, text=text), file, None)


def _project(document: Document, file: Path, target: str | None) -> Project:
    chosen = _choose_target(document, target)
    data = copy.deepcopy(
        {k: v for k, v in document.data.items() if not k.startswith(OWN_KEYS)}
    )
    overrides = _overrides(data, chosen)
    for name, fields in overrides.items():
        _merge(data, name, fields, document, chosen)
    try:
        spec = ProjectSpec.model_validate(data)
    except ValidationError as error:
        raise _explain(error, document, chosen, data) from error
    return Project(root=file.parent, target=chosen, spec=spec, document=document)


def _project_file(path: Path) -> Path:
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise SpecError(
            f"{file}: no such file",
            hint=f"name a folder with a {FILE_NAME}, or write one for your models with "
            "`triton-kit init MODEL...`; an example: `triton-kit new digits DIR`",
        )
    return file


def _choose_target(document: Document, wanted: str | None) -> str:
    targets = document.data.get("targets", {"local": {}})
    names = list(targets) if isinstance(targets, dict) and targets else ["local"]
    if wanted is None:
        return names[0]
    if wanted not in names:
        raise SpecError(
            f"{document.place(('targets',))}: no target {wanted!r}",
            hint=did_you_mean(wanted, names),
        )
    return wanted


def _overrides(data: dict[str, Plain], target: str) -> dict[str, Plain]:
    """Return the fields of models that the target sets, of whatever type."""
    found: Plain = data
    for key in ("targets", target, "models"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _merge(
    data: dict[str, Plain], name: str, fields: Plain, document: Document, target: str
) -> None:
    models = data.get("models")
    if not isinstance(models, dict) or not isinstance(fields, dict):
        return
    model = models.get(name)
    if not isinstance(model, dict):
        place = document.place(("targets", target, "models", name))
        raise SpecError(
            f"{place}: target {target!r} changes model {name!r}, which is not there",
            hint=did_you_mean(name, models),
        )
    if any(fields.get(key) is not None for key in ENVIRONMENT_KEYS):
        for key in ENVIRONMENT_KEYS:
            model.pop(key, None)
    model.update(fields)


def _explain(
    error: ValidationError, document: Document, target: str, data: Plain
) -> SpecError:
    """Turn the first of pydantic's errors into a place, a reason and a hint."""
    # A misspelt key is also a missing one: the misspelling is what helps.
    found = error.errors()
    details = min(found, key=lambda e: e["type"] != "extra_forbidden")
    keys = _yaml_keys(details, data)
    place = document.place(_where_set(keys, document, target))
    where = ".".join(str(key) for key in keys)
    if details["type"] == "extra_forbidden":
        inside = ".".join(str(key) for key in keys[:-1]) or "the file"
        return SpecError(
            f"{place}: unknown key {str(keys[-1])!r} in {inside}",
            hint=_key_meant(keys),
        )
    if details["type"] == "missing":
        return SpecError(f"{place}: {where} is missing")
    # Of a value that may be of several types there is an error for each.
    first, *more = dict.fromkeys(
        _reason(each) for each in found if _yaml_keys(each, data) == keys
    )
    text = " or ".join([first, *(one.removeprefix("expected ") for one in more)])
    text += _found(details)
    return SpecError(f"{place}: {where}: {text}" if where else f"{place}: {text}")


def _yaml_keys(details: ErrorDetails, data: Plain) -> tuple[Key, ...]:
    """Return where an error is; pydantic's own markers for types are left out."""
    keys: list[Key] = []
    value = data
    for key in details.get("ctx", {}).get("at") or details["loc"]:
        if isinstance(value, dict) and key in value:
            value = value[str(key)]
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        elif details["type"] != "missing" or key != details["loc"][-1]:
            continue
        keys.append(key)
    return tuple(keys)


def _key_meant(keys: tuple[Key, ...]) -> str:
    """Return the hint for an unknown key."""
    name, known = str(keys[-1]), _fields_at(keys[:-1])
    for field in known:
        inside = (*keys[:-1], field)
        is_plain = get_origin(_annotation_at(inside)) not in (dict, tuple)
        if is_plain and name in _fields_at(inside):
            return f"did you mean {field}: {{{name}: ...}}?"
    other = _OTHER_NAMES.get(name)
    return f"did you mean {other!r}?" if other in known else did_you_mean(name, known)


def _where_set(
    keys: tuple[Key, ...], document: Document, target: str
) -> tuple[Key, ...]:
    """Return where a field is set: the target may override a model's."""
    override = ("targets", target, *keys)
    is_override = keys[:1] == ("models",) and override[:5] in document.lines
    return override if is_override else keys


def _reason(details: ErrorDetails) -> str:
    kind = details["type"]
    if kind == "value_error":
        return details["msg"].removeprefix("Value error, ")
    if kind == "string_pattern_mismatch" and details["ctx"]["pattern"] == NAME_PATTERN:
        return (
            "expected a name of letters, digits, '_', '.' and '-', at most 128, the "
            "first one a letter or digit"
        )
    if kind == "string_pattern_mismatch":
        return f"expected text of the pattern {details['ctx']['pattern']}"
    if kind == "literal_error":
        return f"expected {details['ctx']['expected']}"
    if kind == "string_type" and isinstance(details["input"], int | float):
        return 'expected text in quotes, such as "26.06"'
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}"
    return details["msg"][0].lower() + details["msg"][1:]


def _found(details: ErrorDetails) -> str:
    """Return what was found, if a reason does not say it, and is short."""
    found = details["input"]
    if details["type"] == "value_error" or isinstance(found, dict | list):
        return ""
    return ", got nothing" if found is None else f", got {found!r}"


def _fields_at(keys: tuple[Key, ...]) -> list[str]:
    """Return the keys that the schema knows inside of `keys`."""
    model = _model_in(_annotation_at(keys))
    return list(model.model_fields) if model else []


def _annotation_at(keys: tuple[Key, ...]) -> object:
    found: object = ProjectSpec
    for key in keys:
        found = _annotation_inside(found, key)
    return found


def _annotation_inside(annotation: object, key: Key) -> object:
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    if get_origin(annotation) is tuple:
        return get_args(annotation)[0]
    model = _model_in(annotation)
    field = model.model_fields.get(str(key)) if model else None
    return field.annotation if field else None


def _model_in(annotation: object) -> type[BaseModel] | None:
    """Return the model that an annotation is, or that it makes optional."""
    choices = get_args(annotation) or (annotation,)
    for choice in choices:
        if isinstance(choice, type) and issubclass(choice, BaseModel):
            return choice
    return None
