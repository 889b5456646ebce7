"""The frame of every HTML page of the kit: one style, one policy, no other host."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any  # Any: what templates take

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_FOLDER = "report"
# In JSON these are the same characters; in HTML they could end the script.
_ESCAPES = str.maketrans(
    {c: f"\\u{ord(c):04x}" for c in ("<", ">", "&", "\u2028", "\u2029")}
)


def render_page(
    template: str,
    *,
    scripts: Sequence[str] = (),
    allow: Mapping[str, str] | None = None,
    **values: Any,  # noqa: ANN401
) -> str:
    """Return an HTML page.

    Args:
        template: a file of templates/report that extends `page.html.j2`.
        scripts: the JavaScript of the page, written into it; nothing else runs.
        allow: directives of the Content-Security-Policy beside those of a file that
            sends no request, such as `{"form-action": "'self'"}`.
        values: what the template takes; `title` and `summary` at least. Every text is
            escaped.
    """
    return (
        _environment()
        .get_template(template)
        .render(
            policy=content_security_policy(scripts, allow),
            style=Markup(read_asset("style.css")),
            scripts=[Markup(script) for script in scripts],
            **values,
        )
    )


def content_security_policy(
    scripts: Sequence[str] = (), allow: Mapping[str, str] | None = None
) -> str:
    """Return the policy of a page that runs these scripts and asks no other host."""
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    directives = {
        "default-src": "'none'",
        "script-src": hashes or "'none'",
        # Plotly sets the style of what it draws; a style runs nothing.
        "style-src": "'unsafe-inline'",
        # A saved picture passes through one of these.
        "img-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
        **(allow or {}),
    }
    return "; ".join(f"{name} {value}" for name, value in directives.items())


def script_json(value: object) -> Markup:
    """Return JSON that may stand in a script element, whatever its texts hold."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(text.translate(_ESCAPES))


@cache
def read_asset(name: str) -> str:
    """Return a file of templates/report."""
    path = files("triton_kit.templates").joinpath(_FOLDER, name)
    return path.read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("triton_kit.templates", _FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["script_json"] = script_json
    return environment
