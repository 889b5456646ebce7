"""Named loads of a project become values of the options of `triton-kit perf`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: what click hands over

import click

from triton_kit.cli.options import PATH_TO_READ
from triton_kit.cli.perf.group import option
from triton_kit.errors import SpecError, did_you_mean

if TYPE_CHECKING:
    from triton_kit.project.loads import LoadSpec
    from triton_kit.project.spec import Project

_KEY, _PROJECT = "triton_kit.named_load", "triton_kit.project"
# Field of a load -> the option that it sets.
_FIELDS = {
    "model": "--model-name",
    "url": "--url",
    "protocol": "--protocol",
    "endpoint": "--endpoint",
    "concurrency": "--concurrency-range",
    "rate": "--request-rate-range",
    "distribution": "--request-distribution",
    "batch_size": "--batch-size",
    "shapes": "--shape",
    "input_data": "--input-data",
    "duration_s": "--measurement-interval",
    "request_count": "--request-count",
    "warm_up_s": "--warm-up",
    "time_limit_s": "--time-limit",
    "slo": "--slo",
    "binary_search": "--binary-search",
}
# How the value of a field is written as that of its option.
_WRITTEN: Mapping[str, Callable[[Any], Any]] = {
    "duration_s": lambda seconds: round(seconds * 1000),
    "slo": lambda slo: slo if isinstance(slo, str) else ",".join(slo),
    "shapes": lambda shapes: [
        f"{name}:{','.join(map(str, shape))}" for name, shape in shapes.items()
    ],
}


def _note_project(
    ctx: click.Context, _option: click.Parameter, folder: Path | None
) -> None:
    """Keep the folder for --load, wherever it is on the command line."""
    ctx.meta[_PROJECT] = folder


def _take_load(
    ctx: click.Context, _option: click.Parameter, name: str | None
) -> str | None:
    """Give the options that are not on the command line the values of a load."""
    if name is None or ctx.resilient_parsing:
        return name
    from triton_kit.project.load import load_project

    project = load_project(ctx.meta.get(_PROJECT) or Path())
    load = _find(project, name)
    ctx.meta[_KEY] = (project, name, load)
    values = dict(ctx.default_map or {})
    for field, option_name, value in _settings(load):
        param = _param(ctx.command, option_name)
        place = project.place("loads", name, *field)
        if param is None:
            known = [word for p in ctx.command.params for word in p.opts]
            raise SpecError(
                f"{place}: perf has no option {option_name}",
                hint=did_you_mean(option_name, known),
            )
        try:
            found = _from_root(param, value, project.root)
            param.type_cast_value(ctx, found)
        except (click.UsageError, SpecError) as error:
            raise SpecError(f"{place}: {'.'.join(field)}: {error}") from error
        values[param.name or ""] = found
    ctx.default_map = values
    return name


def _find(project: Project, name: str) -> LoadSpec:
    loads = project.spec.loads
    if not loads:
        raise SpecError(
            f"{project.place('name')}: the project has no loads",
            hint="loads: {NAME: {model: M, rate: 100, slo: p99<20ms}}",
        )
    if name not in loads:
        raise SpecError(
            f"{project.place('loads')}: no load {name!r}",
            hint=did_you_mean(name, loads),
        )
    return loads[name]


def _settings(load: LoadSpec) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """Yield the path of each field that is set, its option and the value of that."""
    for field, option_name in _FIELDS.items():
        value = getattr(load, field)
        if value is not None and value is not False and value != {}:
            written = _WRITTEN.get(field, lambda same: same)(value)
            yield (field,), option_name, written
    for name, value in load.options.items():
        yield ("options", name), f"--{name}", value


def _param(command: click.Command, name: str) -> click.Parameter | None:
    found = (param for param in command.params if name in param.opts)
    return next(found, None)


def _from_root(param: click.Parameter, value: object, root: Path) -> object:
    """Return a value as text, files named from the folder of the project."""
    if isinstance(value, bool):
        return value
    is_file = isinstance(param.type, click.Path) or param.name == "input_data"
    items = value if isinstance(value, list | tuple) else [value]
    words = [_file(str(v), root) if is_file else _plain(v) for v in items]
    return words if param.multiple else words[0]


def _plain(value: object) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _file(word: str, root: Path) -> str:
    """Return the path of a file of the project, also in NAME:FILE."""
    name, colon, rest = word.partition(":")
    if not (root / word).exists() and colon and (root / rest).exists():
        return f"{name}:{root / rest}"
    return str(root / word) if (root / word).exists() else word


@contextmanager
def located(ctx: click.Context) -> Iterator[None]:
    """Begin an error about a value of a named load with its line."""
    try:
        yield
    except SpecError as error:
        if _KEY not in ctx.meta:
            raise
        project, name, load = ctx.meta[_KEY]
        field = _field_in(error.message, load)
        error.message = f"{project.place('loads', name, *field)}: {error.message}"
        error.args = (error.message,)
        raise


def _field_in(message: str, load: LoadSpec) -> tuple[str, ...]:
    """Return the field whose value a message names; the longest one of several."""
    found: tuple[str, tuple[str, ...]] = ("", ())
    for field, option_name, value in _settings(load):
        items: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
        texts = [part for item in items for part in str(item).split(",")]
        for text in (*texts, option_name):
            if text in message and len(text) > len(found[0]):
                found = text, field
    return found[1]


LOAD = option(
    "--load",
    "named_load",
    metavar="NAME",
    callback=_take_load,
    expose_value=False,
    help="Load of the project (`loads` of its triton-kit.yaml); options on the command "
    "line take precedence.",
)
PROJECT = option(
    "--project",
    type=PATH_TO_READ,
    callback=_note_project,
    is_eager=True,
    expose_value=False,
    metavar="DIR",
    help="With --load: folder of the project.  [default: .]",
)
