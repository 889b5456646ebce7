"""Errors and findings of a build become lines of triton-kit.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from triton_kit.errors import TritonKitError
from triton_kit.project.document import Key, Keys
from triton_kit.project.spec import Project
from triton_kit.triton.calls import CALLS_PARAMETER
from triton_kit.triton.schema import Message

_WORD = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+)*")
# Field of ModelConfig -> where the short form of triton-kit.yaml sets it.
_SHORT_FORMS: dict[str, Keys] = {
    "max_batch_size": ("batching", "max_batch_size"),
    "dynamic_batching": ("batching",),
    "instance_group": ("instances",),
    "version_policy": ("versions",),
    "sequence_batching": ("sequence",),
    "model_warmup": ("warmup",),
    "model_transaction_policy": ("decoupled",),
    "ensemble_scheduling": ("steps",),
}
_SHORT_NAMES = {
    "gpu_execution_accelerator": "gpu_accelerators",
    "cpu_execution_accelerator": "cpu_accelerators",
    "control_input": "controls",
    "state": "states",
    "input_map": "inputs",
    "output_map": "outputs",
    "model_name": "model",
    "model_version": "version",
    "preferred_batch_size": "preferred",
    "max_queue_delay_microseconds": "max_queue_delay_us",
    "max_candidate_sequences": "max_candidates",
}
_LEFT_OUT = ("execution_accelerators", "direct", "oldest", "step")


def locate_error(project: Project, error: TritonKitError, *prefix: Key) -> None:
    """Begin an error's message with the line of the project file that it is about.

    That is the value below `prefix` whose key, or which itself, the message names; of
    several the one that it names last.
    """
    place = project.place(*_named_in(project, error.message, prefix))
    file = place.partition(":")[0]
    if file and not error.message.startswith(file):
        error.message = f"{place}: {error.message}"
        error.args = (error.message,)


def _named_in(project: Project, message: str, prefix: Keys) -> Keys:
    words = _WORD.findall(message)
    rank: dict[str, int] = {}
    for number, word in enumerate(words):
        rank |= dict.fromkeys([word, *word.split(".")], number)
    best, found = -1, prefix
    for keys, value in _values(project, prefix):
        names = [str(keys[-1])]
        if isinstance(value, str):
            names.append(value)
        number = max(rank.get(name, -1) for name in names)
        if number >= best and number >= 0:
            best, found = number, keys
    return found


def _values(project: Project, prefix: Keys) -> Iterator[tuple[Keys, object]]:
    """Yield every value below a place, the outer ones first."""
    value: object = project.document.data if project.document else None
    for key in prefix:
        value = value.get(key) if isinstance(value, dict) else None
    waiting = [(prefix, value)]
    while waiting:
        keys, value = waiting.pop(0)
        inner: list[tuple[Key, object]] = []
        if isinstance(value, dict):
            inner = list(value.items())
        elif isinstance(value, list):
            inner = list(enumerate(value))
        for key, item in inner:
            below = (*keys, key)
            yield below, item
            waiting.append((below, item))


def locate_field(project: Project, config: Message, at: Sequence[Key]) -> str:
    """Return `file:line` of what set a field of a model's config."""
    kind = "pipelines" if config.name in project.spec.pipelines else "models"
    prefix: Keys = (kind, config.name)
    lines = project.document.lines if project.document else {}
    written: Keys = (*prefix, "config", *at)
    if at and written[:4] in lines:
        return project.place(*written)
    return project.place(*prefix, *_short_form(config, at))


def _short_form(config: Message, at: Sequence[Key]) -> Keys:
    if not at:
        return ()
    if tuple(at[:2]) == ("parameters", CALLS_PARAMETER):
        return ("calls",)
    first, *rest = at
    if first in ("input", "output"):
        entries = getattr(config, str(first))
        number = rest[0] if rest and isinstance(rest[0], int) else len(entries)
        name = entries[number].name if number < len(entries) else ""
        is_label = rest[1:2] == ["label_filename"]
        return (f"{first}s", name, *(("labels",) if is_label else ()))
    begin = _SHORT_FORMS.get(str(first), (first,))
    left = [key for key in rest if key not in _LEFT_OUT]
    return (*begin, *(_SHORT_NAMES.get(str(key), key) for key in left))
