"""What the model options of `triton-kit perf` mean: the models of a PerfSpec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from triton_kit.errors import SpecError
from triton_kit.loadtest.loops.mix import ModelShare
from triton_kit.loadtest.spec import parse_shape


def model_part(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options of this module out of `options`: what they mean to a PerfSpec.

    Raises:
        SpecError: one of them cannot be read, or leaves open which model it is for.
    """
    words = options.pop("models")
    said = {
        name: options.pop(name)
        for name in ("versions", "batch_sizes", "shapes", "input_data")
    }
    if len(words) == 1:
        return {"model": words[0], **_given(said)}
    weights = [_weight(word) for word in words]
    names = [name for name, _ in weights]
    if said["shapes"]:
        _demand_names(said["shapes"], names)
    shares = []
    for name, weight in weights:
        own = {option: _for(name, given) for option, given in said.items()}
        shares.append(ModelShare(model=name, weight=weight, **_given(own)))
    common = {option: _for_all(names, given) for option, given in said.items()}
    return {"models": tuple(shares), **_given(common)}


def _given(said: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return what these words say, by the fields of a spec; nothing for no words."""
    fields: dict[str, Any] = {}
    if versions := said["versions"]:
        fields["version"] = versions[-1]
    if sizes := said["batch_sizes"]:
        fields["batch_size"] = _whole("batch size", sizes[-1])
    if shapes := said["shapes"]:
        fields["shapes"] = dict(parse_shape(text) for text in shapes)
    if sources := said["input_data"]:
        fields["input_data"] = sources[0] if len(sources) == 1 else tuple(sources)
    return fields


def _weight(word: str) -> tuple[str, int]:
    name, equals, weight = word.partition("=")
    return name, _whole(f"weight of model {name!r}", weight) if equals else 1


def _whole(what: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise SpecError(f"{what} {text!r}: need a whole number") from error


def _for(name: str, words: Sequence[str]) -> list[str]:
    """Return what is said for one model."""
    mark = f"{name}="
    return [word.removeprefix(mark) for word in words if word.startswith(mark)]


def _for_all(names: Sequence[str], words: Sequence[str]) -> list[str]:
    """Return what is said for all models."""
    marks = tuple(f"{name}=" for name in names)
    return [word for word in words if not word.startswith(marks)]


def _demand_names(shapes: Sequence[str], names: Sequence[str]) -> None:
    if unnamed := _for_all(names, shapes):
        raise SpecError(
            f"--shape {unnamed[0]} leaves open which of {len(names)} models it is for",
            hint=f"--shape {names[0]}={unnamed[0]}",
        )
