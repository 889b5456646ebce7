"""The class of every command: common options, old names, environment variables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar  # Any: what click hands over

import click
import cloup
from click.core import ParameterSource

from triton_kit.cli.output import set_log_level, settings, warn

F = TypeVar("F", bound=Callable[..., object])
ENVIRONMENT_PREFIX = "TRITON_KIT"
CONTEXT_SETTINGS: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
    "show_default": True,
}


class KitOption(cloup.Option):
    """An option that may also be given by its former, hidden names."""

    def __init__(
        self,
        *args: Any,  # noqa: ANN401
        former: Sequence[str] = (),
        **attrs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*args, **attrs)
        self.former = tuple(former)

    @property
    def long_name(self) -> str:
        """The name that the user reads: `--output`."""
        return max(self.opts, key=len)


class KitCommand(cloup.Command):
    """A command with `-h`, `-q`, `-v`, `--debug` and `--color`.

    Each option can be set by TRITON_KIT_<COMMAND>_<OPTION> or TRITON_KIT_<OPTION>.

    Args:
        examples: command lines that the help shows at its end.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401
        examples: Sequence[str] = (),
        **attrs: Any,  # noqa: ANN401
    ) -> None:
        self.examples = tuple(examples)
        attrs["context_settings"] = CONTEXT_SETTINGS | attrs.get("context_settings", {})
        params = list(attrs.pop("params", None) or [])
        _group_the_rest(params)
        taken = {name for param in params for name in param.opts}
        super().__init__(*args, params=[*params, *_common_options(taken)], **attrs)

    def get_default_option_group(
        self,
        ctx: click.Context,
        is_the_only_visible_option_group: bool = False,
    ) -> cloup.OptionGroup:
        """Show the common options last, under a title of their own."""
        group = super().get_default_option_group(ctx, is_the_only_visible_option_group)
        group.title = "Common options"
        return group

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, then the epilog."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{example}\n")
        super().format_epilog(ctx, formatter)

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,  # noqa: ANN401
    ) -> click.Context:
        """Name the environment variables once the command has its name."""
        for param in self.params:
            if isinstance(param, click.Option) and param.envvar is None:
                param.envvar = _variables(param, info_name or "")
        return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Accept former names of options, with a warning."""
        renamed = {
            old: param.long_name
            for param in self.params
            if isinstance(param, KitOption)
            for old in param.former
        }
        try:
            return super().parse_args(ctx, _with_new_names(args, renamed))
        except click.NoSuchOption as error:
            known = _similar_options(error.option_name, self.params)
            if not known:
                raise
            text = f"No such option {error.option_name!r}. Did you mean "
            raise click.NoSuchOption(
                error.option_name, f"{text}{' or '.join(known)}?", ctx=ctx
            ) from error


def kit_command(**attrs: Any) -> Callable[[Callable[..., None]], KitCommand]:  # noqa: ANN401
    """Make a command of a function, as `click.command` does."""
    decorate: Callable[[Callable[..., None]], KitCommand] = cloup.command(
        cls=KitCommand, **attrs
    )
    return decorate


def kit_option(*names: str, **attrs: Any) -> Callable[[F], F]:  # noqa: ANN401
    """Add an option, as `click.option` does; `former` lists its hidden names."""
    decorate: Callable[[F], F] = cloup.option(*names, cls=KitOption, **attrs)
    return decorate


def _similar_options(name: str, params: Sequence[click.Parameter]) -> list[str]:
    """Return the options spelled like `name`, else those that have a word of it."""
    shown = [p for p in params if isinstance(p, click.Option) and not p.hidden]
    known = sorted({option for param in shown for option in param.opts})
    words = set(name.lstrip("-").split("-"))
    related = [option for option in known if words & {*option.lstrip("-").split("-")}]
    return get_close_matches(name, known, cutoff=0.8) or related


def _variables(option: click.Option, command: str) -> list[str]:
    """Return the environment variables of an option, the more specific one first."""
    if not option.expose_value and option.name in ("help", "version"):
        return []
    name = max(option.opts, key=len).lstrip("-")
    words = (f"{command} {name}", name)
    return [
        f"{ENVIRONMENT_PREFIX}_{w.upper().replace('-', '_').replace(' ', '_')}"
        for w in words
    ]


def _with_new_names(args: list[str], renamed: dict[str, str]) -> list[str]:
    found: list[str] = []
    for index, word in enumerate(args):
        if word == "--":
            return [*found, *args[index:]]
        name, equals, value = word.partition("=")
        if name in renamed:
            warn(f"{name} is now {renamed[name]}; the old name works until version 0.2")
            word = renamed[name] + equals + value
        found.append(word)
    return found


def _group_the_rest(params: Sequence[click.Parameter]) -> None:
    """Put the command's own options that have no group into one."""
    options = [param for param in params if isinstance(param, click.Option)]
    has_groups = any(getattr(option, "group", None) for option in options)
    rest = cloup.OptionGroup("Other options" if has_groups else "Options")
    for option in options:
        if getattr(option, "group", None) is None and option.name != "version":
            vars(option)["group"] = rest


def _common_options(taken: set[str]) -> list[click.Parameter]:
    """Return the options that every command has, without names that it uses itself."""
    wanted: list[tuple[tuple[str, ...], dict[str, Any]]] = [
        (
            ("-q", "--quiet"),
            {"is_flag": True, "help": "Print results and errors only."},
        ),
        (
            ("-v", "--verbose"),
            {
                "count": True,
                "show_default": False,
                "help": "Log what is done; -vv logs details too.",
            },
        ),
        (
            ("--debug",),
            {"is_flag": True, "help": "Show the Python traceback of an error."},
        ),
        (
            ("--color",),
            {
                "type": click.Choice(["auto", "always", "never"]),
                "default": "auto",
                "help": "Colour the output; auto: on a terminal, unless NO_COLOR is "
                "set.",
            },
        ),
    ]
    options: list[click.Parameter] = []
    for names, attrs in wanted:
        free = [name for name in names if name not in taken]
        if free and free[-1] == names[-1]:
            option = KitOption(
                free,
                callback=_set_common,
                expose_value=False,
                is_eager=True,
                **attrs,
            )
            options.append(option)
    return options


def _set_common(ctx: click.Context, param: click.Parameter, value: Any) -> None:  # noqa: ANN401
    """Apply one of the common options before the others are parsed.

    They may stand before the command as well as after it.
    """
    if ctx.get_parameter_source(param.name or "") is ParameterSource.DEFAULT:
        return
    if param.name == "quiet":
        settings.quiet = value
    elif param.name == "verbose":
        settings.verbosity = value
    elif param.name == "debug":
        settings.debug = value
    else:
        settings.color = value
    set_log_level()
