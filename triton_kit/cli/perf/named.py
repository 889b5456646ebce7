"""Named loads of a project become values of the options of `triton-kit perf`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: what click hands over

import click
from click.core import ParameterSource

from triton_kit.cli.options import PATH_TO_READ
from triton_kit.cli.perf.group import option
from triton_kit.cli.perf.precedence import replaced_by
from triton_kit.errors import SpecError, did_you_mean

if TYPE_CHECKING:
    from triton_kit.project.loads import LoadSpec
    from triton_kit.project.spec import Project

_NOTED, _LOAD = "triton_kit.named_load.noted", "triton_kit.named_load"
# Where values come from that take precedence over those of a load.
GIVEN = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
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


@dataclass(frozen=True, slots=True)
class NamedLoad:
    """A load of a project, and the path of the field that sets each parameter."""

    project: Project
    name: str
    fields: Mapping[str, tuple[str, ...]]

    def place(self, param: str | None = None) -> str:
        """Return `file:line` of what sets a parameter, or of the load."""
        field = self.fields[param] if param else ()
        return self.project.place("loads", self.name, *field)


def named_load(ctx: click.Context) -> NamedLoad | None:
    """Return the load that --load names, once its values are taken."""
    found: NamedLoad | None = ctx.meta.get(_LOAD)
    return found


def hiding_variables(ctx: click.Context) -> AbstractContextManager[None]:
    """Put `${NAME}` for its value into errors about a named load, or of its run."""
    load = named_load(ctx)
    return load.project.hiding_variables() if load else nullcontext()


def _note(
    ctx: click.Context, option: click.Parameter, value: str | Path | None
) -> str | Path | None:
    """Take the load before all other options, once --project is known, too."""
    noted = ctx.meta.setdefault(_NOTED, {})
    noted[option.name] = value
    if len(noted) == 2 and noted["named_load"] and not ctx.resilient_parsing:
        from triton_kit.project.load import load_project

        _take_load(ctx, noted["named_load"], load_project(noted["project"] or Path()))
    elif (
        len(noted) == 2
        and noted["project"]
        and not noted["named_load"]
        # TRITON_KIT_PROJECT may be for other commands.
        and ctx.get_parameter_source("project") is ParameterSource.COMMANDLINE
    ):
        raise SpecError(f"--project {noted['project']} has no effect without --load")
    return value


def _take_load(ctx: click.Context, name: str, project: Project) -> None:
    """Give the options that are not on the command line the values of a load."""
    values = dict(ctx.default_map or {})
    fields: dict[str, tuple[str, ...]] = {}
    with project.hiding_variables():
        for field, option_name, value in _settings(_find(project, name)):
            place = project.place("loads", name, *field)
            param = _param(ctx.command, option_name, place)
            try:
                found = _from_root(param, value, project.root)
                param.process_value(ctx, found)
            except (click.UsageError, SpecError) as error:
                raise SpecError(f"{place}: {'.'.join(field)}: {error}") from error
            values[param.name or ""], fields[param.name or ""] = found, field
    ctx.default_map, ctx.meta[_LOAD] = values, NamedLoad(project, name, fields)


def drop_replaced(ctx: click.Context) -> None:
    """Take back values of a named load that the command line says otherwise."""
    if named_load(ctx) is None:
        return
    given = {name for name in ctx.params if ctx.get_parameter_source(name) in GIVEN}
    with ctx.command.make_context(ctx.info_name, [], resilient_parsing=True) as empty:
        for name in replaced_by(given):
            ctx.params[name] = empty.params[name]
            ctx.set_parameter_source(name, ParameterSource.DEFAULT)


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


def _param(command: click.Command, name: str, place: str) -> click.Parameter:
    """Return the option of a name; those for the command itself are none of a load."""
    params = [param for param in command.params if not param.is_eager]
    for param in params:
        if name in param.opts:
            return param
    raise SpecError(
        f"{place}: perf has no option {name} for a load",
        hint=did_you_mean(name, [word for param in params for word in param.opts]),
    )


def _from_root(param: click.Parameter, value: object, root: Path) -> object:
    """Return a value as text, files named from the folder of the project."""
    if isinstance(value, bool):
        return value
    is_file = isinstance(param.type, click.Path) or param.name == "input_data"
    items = value if isinstance(value, list | tuple) else [value]
    words = [_file(str(v), root) if is_file else plain(v) for v in items]
    return words if param.multiple else words[0]


def plain(value: object) -> str:
    """Return a value as the user writes it: 5, not 5.0."""
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _file(word: str, root: Path) -> str:
    """Return the path of a file of the project, also in NAME:FILE."""
    name, colon, rest = word.partition(":")
    if not (root / word).exists() and colon and (root / rest).exists():
        return f"{name}:{root / rest}"
    return str(root / word) if (root / word).exists() else word


LOAD = option(
    "--load",
    "named_load",
    metavar="NAME",
    callback=_note,
    is_eager=True,
    expose_value=False,
    help="Load of the project (`loads` of its triton-kit.yaml); options on the command "
    "line take precedence.",
)
PROJECT = option(
    "--project",
    type=PATH_TO_READ,
    callback=_note,
    is_eager=True,
    expose_value=False,
    metavar="DIR",
    help="With --load: folder of the project.  [default: .]",
)
