"""Templates become texts: strings are quoted as YAML, and nothing is undefined."""

from __future__ import annotations

import json
from functools import cache
from typing import Any  # what a template shows

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **values: Any) -> str:  # noqa: ANN401
    """Return the text of a template of `templates/deploy`."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("triton_kit.templates", "deploy"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # YAML is not HTML: values go through the filter instead
    )
    environment.filters["yaml"] = _yaml
    return environment


def _yaml(value: object) -> str:
    """Return a value as JSON, which is YAML on one line whatever is in it."""
    return json.dumps(value, ensure_ascii=False)
