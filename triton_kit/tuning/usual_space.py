"""A model's configuration into the fields and values that are worth trying."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from triton_kit.errors import SpecError
from triton_kit.tuning.legality import CheckConfigs, why_illegal
from triton_kit.tuning.model_fields import (
    BATCH_SIZE,
    CONCURRENCY,
    LOAD_FIELDS,
    REQUEST_RATE,
    Config,
    is_conversion,
    read_field,
)
from triton_kit.tuning.space import Settings, Space, SpaceField, Value
from triton_kit.tuning.space_text import check_space_texts, read_space_text
from triton_kit.tuning.subject import Subject, is_ensemble
from triton_kit.tuning.variants import Variants

_INSTANCES = (1, 2, 3, 4, 6, 8)
_DELAYS_US = (None, 0, 100, 500, 2000)
_CONCURRENCY = (1, 2, 4, 8, 16, 32, 64)
_LARGEST_BATCH = 128
_DEFAULT_CONCURRENCY = 8


def make_space(
    subject: Subject,
    given: Sequence[str] = (),
    *,
    batch_size: int = 1,
    check: CheckConfigs = lambda _: "",
    variants: Variants | None = None,
    cores: int | None = None,
) -> Space:
    """Return the space to search.

    Args:
        subject: what is tuned.
        given: fields as `NAME=VALUES`; empty: the usual ones.
        batch_size: of each request, unless the space has the field.
        check: tells why a server would refuse configurations.
        variants: converts models; None: no field may need a conversion.
        cores: those of the server; None: all of this machine.

    Raises:
        SpecError: a field cannot be read or does not exist, or nothing is legal.
    """
    check_space_texts(given)
    fields = (
        [_given(subject, text, variants) for text in given]
        if given
        else _usual(subject, cores or os.cpu_count() or 1)
    )
    names = {field.name for field in fields}
    if not names & {CONCURRENCY, REQUEST_RATE}:
        fields.append(_load(CONCURRENCY, (_DEFAULT_CONCURRENCY,)))
    if BATCH_SIZE not in names:
        fields.append(_load(BATCH_SIZE, (batch_size,)))

    def judge(settings: Settings) -> str:
        illegal = why_illegal(subject, settings, check)
        if illegal or variants is None:
            return illegal
        return variants.why_illegal(subject.by_model(settings))

    space = Space(fields=tuple(fields), why_illegal=judge)
    space.require_legal()
    return space


def _usual(subject: Subject, cores: int) -> list[SpaceField]:
    fields = []
    least_batch = _least_batch(subject)
    for model in subject.parts:
        config = subject.configs[model]
        for name, values in _usual_values(config, cores, least_batch=least_batch):
            default = read_field(config, name)
            fields.append(
                SpaceField(
                    name=subject.named(model, name),
                    values=_with(default, values),
                    default=default,
                )
            )
    return [*fields, _load(CONCURRENCY, _CONCURRENCY)]


def _least_batch(subject: Subject) -> int:
    """Return what a step must take at least: the batches of its ensembles."""
    return max(
        (
            int(config.get("max_batch_size") or 0)
            for config in subject.configs.values()
            if is_ensemble(config)
        ),
        default=1,
    )


def _usual_values(
    config: Config, cores: int, *, least_batch: int
) -> Iterable[tuple[str, tuple[Value, ...]]]:
    yield "instances", tuple(n for n in _INSTANCES if n <= max(4, cores))
    largest = int(config.get("max_batch_size") or 0)
    backend = config.get("backend", "")
    if largest:
        # A plan is built for a largest batch; other models take what they are given.
        most = largest if backend == "tensorrt" else max(_LARGEST_BATCH, largest)
        sizes = tuple(2**n for n in range(11) if least_batch <= 2**n <= most)
        yield "max_batch_size", sizes
        if "sequence_batching" not in config:
            yield "queue_delay_us", _DELAYS_US
    kinds = {group.get("kind") for group in config.get("instance_group") or ()}
    if backend == "onnxruntime" and kinds <= {"KIND_CPU"} and cores > 1:
        yield "threads", tuple(n for n in (0, 1, 2, 4, 8, 16) if n <= cores)


def _with(default: Value, values: tuple[Value, ...]) -> tuple[Value, ...]:
    """Return values with the default among them, in order."""
    if default in values:
        return values
    numbers = [value for value in values if isinstance(value, int)]
    others = tuple(value for value in values if value is None)
    if isinstance(default, int):
        return (*others, *sorted([*numbers, default]))
    return (*values, default)


def _load(name: str, values: tuple[Value, ...]) -> SpaceField:
    default = values[len(values) // 2]
    return SpaceField(name=name, values=values, default=default, is_load=True)


def _given(subject: Subject, text: str, variants: Variants | None) -> SpaceField:
    name, values = read_space_text(text)
    if name in LOAD_FIELDS:
        return _load(name, values)
    model, inner = subject.split(name)
    full = subject.named(model, inner)
    if is_conversion(inner):
        if variants is None:
            raise SpecError(
                f"field {full!r}: only a project on a server of the kit is converted",
                hint="name a folder with a triton-kit.yaml, and leave out --url",
            )
        return variants.space_field(model, inner, full, values)
    default = read_field(subject.configs[model], inner)
    return SpaceField(name=full, values=values, default=default)
