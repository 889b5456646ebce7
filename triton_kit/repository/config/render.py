"""Write a ModelConfig as config.pbtxt, and prove that Triton would read it back."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from google.protobuf import text_format
from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    StrictUndefined,
    TemplateError,
)

from triton_kit.errors import RepositoryError, SpecError
from triton_kit.repository.config.values import (
    is_one_liner,
    quote,
    set_fields,
    value_text,
)
from triton_kit.triton.schema import Message, ModelConfig

_OWN = "config/config.pbtxt.j2"


def render(config: Message, *, template: Path | None = None) -> str:
    """Return the text of config.pbtxt for a `ModelConfig` message.

    Args:
        config: any `ModelConfig`, complete or not.
        template: a project's own Jinja template. It may extend
            `config/config.pbtxt.j2` and override its blocks; `config` is the message,
            the filter `pbtxt` writes a value. It may set more than `config` does, but
            nothing that Triton could not read.

    Raises:
        SpecError: `template` is missing, broken, or writes what is no ModelConfig.
        RepositoryError: the kit's own template lost something of `config`.
    """
    if template is None:
        text = _environment(None).get_template(_OWN).render(config=config)
        _must_say(text, config)
        return text
    text = _from_template(config, template)
    try:
        text_format.Parse(text, ModelConfig())
    except text_format.ParseError as error:
        raise SpecError(
            f"{template}: the text it writes is no ModelConfig: {error}",
            hint=f"that line is: {_line(text, error.GetLine())}",
        ) from error
    return text


def _from_template(config: Message, template: Path) -> str:
    if not template.is_file():
        raise SpecError(
            f"{template}: no such template",
            hint=f"a template is a Jinja file that may extend {_OWN!r}",
        )
    try:
        environment = _environment(template.parent)
        return environment.get_template(template.name).render(config=config)
    except (TemplateError, UnicodeDecodeError, OSError) as error:
        line = getattr(error, "lineno", None)
        place = f"{template}:{line}" if line else str(template)
        raise SpecError(f"{place}: {error}") from error


def _must_say(text: str, config: Message) -> None:
    try:
        parsed = text_format.Parse(text, ModelConfig())
    except text_format.ParseError as error:
        raise RepositoryError(
            f"{config.name}: the rendered config.pbtxt does not parse: {error}",
            hint=f"that line is: {_line(text, error.GetLine())}",
        ) from error
    # Bytes, not `==`: they also tell empty messages from absent ones, and NaN is NaN.
    if _bytes(parsed) != _bytes(config):
        raise RepositoryError(
            f"{config.name}: the rendered config.pbtxt means something else than was "
            "meant",
            hint="the message holds fields that this schema does not know",
        )


def _bytes(message: Message) -> bytes:
    return bytes(message.SerializeToString(deterministic=True))


def _line(text: str, number: int | None) -> str:
    lines = text.splitlines()
    return lines[number - 1].strip() if number and number <= len(lines) else "?"


@cache
def _environment(folder: Path | None) -> Environment:
    own: BaseLoader = PackageLoader("triton_kit.templates", "")
    environment = Environment(
        loader=ChoiceLoader([FileSystemLoader(folder), own]) if folder else own,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # pbtxt is not HTML: values go through filters instead
    )
    environment.filters["set_fields"] = set_fields
    environment.filters["pbtxt"] = value_text
    environment.filters["pbtxt_string"] = quote
    environment.tests["one_liner"] = is_one_liner
    environment.tests["ensemble"] = _is_ensemble
    return environment


def _is_ensemble(config: Message) -> bool:
    return bool(config.platform == "ensemble" or config.HasField("ensemble_scheduling"))
