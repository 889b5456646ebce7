"""`triton-kit ui`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import cloup

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.output import echo, notice

if TYPE_CHECKING:
    from triton_kit.ui.access import Gate


@kit_command(
    short_help="Show a repository and its results in the browser.",
    examples=(
        "triton-kit ui model_repository",
        "triton-kit ui model_repository results --server localhost:8000 --port 8888",
    ),
)
@cloup.argument(
    "folders",
    metavar="REPOSITORY|RESULTS...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="A model repository, and folders or files of results.",
)
@kit_option(
    "--server",
    default="localhost:8000",
    metavar="HOST:PORT",
    help="HTTP address that the form for one inference begins with.",
)
@kit_option(
    "--port",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Port of the pages on 127.0.0.1.  [default: a free one]",
)
@kit_option(
    "--browser/--no-browser",
    "is_opened",
    default=None,
    help="Open the pages in a browser.  [default: on a desktop]",
)
def command(
    folders: tuple[Path, ...], *, server: str, port: int | None, is_opened: bool | None
) -> None:
    """Show a repository and its results as pages on this machine, until Ctrl-C.

    The pages read the folders again each time. The printed URL has a token, without
    which nothing is shown; no other machine can connect.
    """
    from triton_kit.ui.server import serve
    from triton_kit.ui.views import Site

    if is_opened is None:
        is_opened = sys.stdout.isatty() and _has_desktop()

    def started(gate: Gate) -> None:
        echo(gate.url)
        sys.stdout.flush()
        notice("Ctrl-C stops the pages.")
        if is_opened:
            import webbrowser

            if not webbrowser.open(gate.url):
                notice("no browser was found: open the URL yourself")

    serve(Site(folders, server), port=port, started=started)
    notice("stopped")


def _has_desktop() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
