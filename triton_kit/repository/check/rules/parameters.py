"""Parameters and accelerators against what each backend knows, as data."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any  # JSON has no type of its own

from triton_kit.errors import did_you_mean, nearest
from triton_kit.repository.check.findings import ERROR, WARNING
from triton_kit.repository.check.rules.case import Case, Problem, Problems
from triton_kit.repository.config.places import Step

_ACCELERATORS = ("gpu_execution_accelerator", "cpu_execution_accelerator")
_KIND_GPU = 1
_INTEGER = re.compile(r"\s*[+-]?\d")  # std::stoi reads the digits it finds
_BOOLEANS = ("true", "on", "1", "false", "off", "0")
# Other parameters of a model are its own: a name this close to a known one is a slip.
_SERVER_PARAMETERS = ("TRITON_BATCH_STRATEGY_PATH",)


@cache
def _known() -> dict[str, Any]:
    text = files(__package__).joinpath("backend_parameters.json").read_text()
    known: dict[str, Any] = json.loads(text)
    return known


def check_parameters(case: Case) -> Problems:
    """K13, K26: accelerators, and the parameters of both them and the model."""
    yield from _accelerators(case)
    yield from _parameters(case)


def _accelerators(case: Case) -> Problems:
    backend = case.config.backend
    by_field = _known()["accelerators"].get(backend)
    accelerators = case.written.optimization.execution_accelerators
    for field in _ACCELERATORS:
        for number, item in enumerate(getattr(accelerators, field)):
            at = ("optimization", "execution_accelerators", field, number)
            if by_field is None:
                yield _ignored(case, item.name, at)
            elif item.name not in by_field[field]:
                yield _unknown_accelerator(case, field, item.name, at)
            elif by_field[field][item.name] is not None:
                known = by_field[field][item.name]
                yield from _accelerator_parameters(case, field, item, known, at)


def _severity(case: Case, field: str) -> str:
    """Return whether the backend reads these accelerators, and so refuses a wrong one.

    The onnxruntime backend reads those of the GPU for an instance on a GPU alone.
    """
    if case.config.backend != "onnxruntime":
        return WARNING
    is_read = field == "cpu_execution_accelerator" or _has_gpu(case)
    return ERROR if is_read else WARNING


def _has_gpu(case: Case) -> bool:
    return any(group.kind == _KIND_GPU for group in case.config.instance_group)


def _ignored(case: Case, name: str, at: tuple[Step, ...]) -> Problem:
    return Problem(
        "K13",
        at=(*at, "name"),
        message=f"the {case.config.backend} backend has no accelerators: {name!r} is "
        "ignored",
        hint="remove it; onnxruntime and tensorflow have accelerators",
        severity=WARNING,
    )


def _unknown_accelerator(
    case: Case, field: str, name: str, at: tuple[Step, ...]
) -> Problem:
    known = list(_known()["accelerators"][case.config.backend][field])
    others = {
        backend
        for backend, fields in _known()["accelerators"].items()
        if name in fields[field]
    }
    hint = did_you_mean(name, known)
    if others:
        hint = f"{name} is an accelerator of the {', '.join(sorted(others))} backend"
    return Problem(
        "K13",
        f"unknown Execution Accelerator '{name}' is requested"
        if _severity(case, field) == ERROR
        else "",
        at=(*at, "name"),
        message=f"the {case.config.backend} backend has no accelerator {name!r} for "
        f"{field}",
        hint=hint,
        severity=_severity(case, field),
    )


def _accelerator_parameters(
    case: Case,
    field: str,
    item: Any,  # noqa: ANN401  a protobuf message
    known: Mapping[str, Any],
    at: tuple[Step, ...],
) -> Problems:
    severity = _severity(case, field)
    for name, value in sorted(item.parameters.items()):
        at_value = (*at, "parameters", name)
        if name not in known:
            title = "TensorRT" if item.name == "tensorrt" else item.name
            text = (
                f"unknown parameter '{name}' is provided for {title} Execution "
                "Accelerator"
            )
            yield Problem(
                "K26",
                text if severity == ERROR else "",
                at=at_value,
                message=f"the accelerator {item.name!r} has no parameter {name!r}",
                hint=did_you_mean(name, known),
                severity=severity,
            )
        elif wanted := _misfit(known[name], value):
            yield _wrong_value(name, value, wanted, at_value, severity)


def _parameters(case: Case) -> Problems:
    known = _known()["parameters"].get(case.config.backend, {})
    for name, parameter in sorted(case.written.parameters.items()):
        at = ("parameters", name)
        if name not in known:
            match = nearest(name, known) if name not in _SERVER_PARAMETERS else None
            if match:
                yield Problem(
                    "K26",
                    at=at,
                    message=f"the {case.config.backend} backend reads no parameter "
                    f"{name!r}",
                    hint=f"did you mean {match!r}?",
                    severity=WARNING,
                )
        elif wanted := _misfit(known[name], parameter.string_value):
            is_read = case.config.backend == "onnxruntime" and (
                name not in _known()["gpu_only"] or _has_gpu(case)
            )
            severity = ERROR if is_read else WARNING
            yield _wrong_value(name, parameter.string_value, wanted, at, severity)


def _misfit(kind: str | list[str], value: str) -> str:
    """Return what a parameter must be; empty if it is."""
    if isinstance(kind, list):
        is_number = all(choice.isdigit() for choice in kind)
        found = re.match(r"\s*\+?(\d+)", value) if is_number else None
        spoken = str(int(found[1])) if found else value
        return "" if spoken in kind else f"one of {', '.join(kind)}"
    if kind == "integer":
        return "" if _INTEGER.match(value) else "a whole number"
    if kind == "boolean":
        return "" if value.lower() in _BOOLEANS else "true or false"
    return ""


def _wrong_value(
    name: str, value: str, wanted: str, at: tuple[Step, ...], severity: str
) -> Problem:
    return Problem(
        "K26",
        at=at,
        message=f"parameter {name!r} is {value!r}: expected {wanted}",
        hint=f"write {wanted}",
        severity=severity,
    )
