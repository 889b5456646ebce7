"""`triton-kit status`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import cloup

from triton_kit.cli.command import kit_command
from triton_kit.cli.control_options import with_control
from triton_kit.cli.options import json_option
from triton_kit.cli.output import echo, echo_json

if TYPE_CHECKING:
    from triton_kit.triton.control_http import HttpControl
    from triton_kit.triton.model import IndexEntry

_UNLOADED = "unloaded"  # the server's reason for a model that it was told to unload


@kit_command(
    examples=("triton-kit status", "triton-kit status -u https://gpu7:8000 digits")
)
@cloup.argument("models", nargs=-1, help="Models to show. Default: all.")
@with_control
@json_option()
def command(control: HttpControl, *, models: tuple[str, ...], as_json: bool) -> None:
    """Show a server, its models, their versions and states.

    Exits with 1 if a model failed to load, or a named one is not ready.
    """
    server = control.server()
    entries = [entry for entry in control.index() if not models or entry.name in models]
    missing = sorted(set(models) - {entry.name for entry in entries})
    if as_json:
        rows = [asdict(entry) for entry in entries]
        document = {"server": asdict(server), "models": rows, "missing": missing}
        echo_json(document)
    else:
        echo(f"{server.name} {server.version}")
        for line in _lines(entries):
            echo(line)
        for name in missing:
            echo(f"  {name}: the server has no such model")
    failed = [entry for entry in entries if not _is_well(entry, bool(models))]
    sys.exit(1 if failed or missing else 0)


def _is_well(entry: IndexEntry, is_named: bool) -> bool:
    is_idle = entry.state in ("", "UNAVAILABLE") and entry.reason in ("", _UNLOADED)
    return entry.is_ready or (is_idle and not is_named)


def _lines(entries: list[IndexEntry]) -> list[str]:
    names = max((len(entry.name) for entry in entries), default=0)
    return [
        f"  {entry.name:{names}}  {entry.version or '-':>3}  "
        f"{entry.state or 'not loaded'}  {entry.reason}".rstrip()
        for entry in entries
    ]
