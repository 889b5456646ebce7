"""`triton-kit diff`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import cloup

from triton_kit.cli.command import kit_command
from triton_kit.cli.options import PATH_TO_READ, json_option
from triton_kit.cli.output import echo, echo_json


@kit_command(examples=("triton-kit diff old/model_repository model_repository",))
@cloup.argument("before", type=PATH_TO_READ, help="A config, a model or a repository.")
@cloup.argument("after", type=PATH_TO_READ, help="Another one of the same kind.")
@json_option()
def command(before: Path, after: Path, *, as_json: bool) -> None:
    """Compare what two configs, models or repositories mean.

    Exits with 0 if they mean the same, 1 if not.
    """
    from triton_kit.repository.difference import changes

    found = changes(before, after)
    if as_json:
        echo_json([asdict(change) for change in found])
    else:
        for change in found:
            echo(str(change))
    sys.exit(1 if found else 0)
