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
from triton_kit.project.spec import ENVIRONMENT_KEYS, Project, ProjectSpec

FILE_NAME = "triton-kit.yaml"
REPOSITORY_NAME = "model_repository"


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
    data = copy.deepcopy(document.data)
    overrides = _overrides(data, chosen)
    for name, fields in overrides.items():
        _merge(data, name, fields, document, chosen)
    try:
        spec = ProjectSpec.model_validate(data)
    except ValidationError as error:
        raise _explain(error, document, chosen) from error
    return Project(root=file.parent, target=chosen, spec=spec, document=document)


def _project_file(path: Path) -> Path:
    file = path / FILE_NAME if path.is_dir() else path
    if not file.is_file():
        raise SpecError(
            f"{file}: no such file",
            hint=f"name a folder with a {FILE_NAME}, "
            "or start one with `triton-kit new digits DIR`",
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


def _explain(error: ValidationError, document: Document, target: str) -> SpecError:
    """Turn the first of pydantic's errors into a place, a reason and a hint."""
    # A misspelt key is also a missing one: the misspelling is what helps.
    details = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    keys = _yaml_keys(details["loc"])
    place = document.place(_where_set(keys, document, target))
    where = ".".join(str(key) for key in keys)
    if details["type"] == "extra_forbidden":
        known = _fields_at(keys[:-1])
        inside = ".".join(str(key) for key in keys[:-1]) or "the file"
        return SpecError(
            f"{place}: unknown key {str(keys[-1])!r} in {inside}",
            hint=did_you_mean(str(keys[-1]), known),
        )
    if details["type"] == "missing":
        return SpecError(f"{place}: {where} is missing")
    # An error of the whole file has no key.
    return SpecError(": ".join(filter(None, (place, where, _reason(details)))))


def _yaml_keys(loc: tuple[Key, ...]) -> tuple[Key, ...]:
    """Drop pydantic's own marker for a bad mapping key."""
    return tuple(key for key in loc if key != "[key]")


def _where_set(
    keys: tuple[Key, ...], document: Document, target: str
) -> tuple[Key, ...]:
    """Return where a field is set: the target may override a model's."""
    override = ("targets", target, *keys)
    is_override = keys[:1] == ("models",) and override[:5] in document.lines
    return override if is_override else keys


def _reason(details: ErrorDetails) -> str:
    if details["type"] == "value_error":
        return details["msg"].removeprefix("Value error, ")
    found = details["input"]
    text = details["msg"][0].lower() + details["msg"][1:]
    if isinstance(found, dict | list):
        return text
    return f"{text}, got {found!r}"


def _fields_at(keys: tuple[Key, ...]) -> list[str]:
    """Return the keys that the schema knows inside of `keys`."""
    found: object = ProjectSpec
    for key in keys:
        found = _annotation_inside(found, key)
    model = _model_in(found)
    return list(model.model_fields) if model else []


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
