"""`triton-kit test`."""

from __future__ import annotations

import sys
from pathlib import Path

import cloup

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import PATH_TO_READ, json_option, timeout_option
from triton_kit.cli.output import echo, echo_json


@kit_command(examples=("triton-kit test", "triton-kit test --url gpu-host:8001"))
@cloup.argument(
    "project",
    default=".",
    type=PATH_TO_READ,
    help="A project's folder, or its triton-kit.yaml.",
)
@kit_option(
    "-t",
    "--target",
    metavar="NAME",
    help="A target of the project.  [default: the first]",
)
@kit_option(
    "-u",
    "--url",
    metavar="HOST:PORT",
    help="Address of a running server: its gRPC port, or http://HOST:PORT.  "
    "[default: the embedded server]",
)
@kit_option(
    "--repository",
    type=PATH_TO_READ,
    metavar="FOLDER",
    help="Repository for the embedded server.  [default: the project's]",
)
@timeout_option("Time for each response.", default=60.0)
@json_option()
def command(
    project: Path,
    *,
    target: str | None,
    url: str | None,
    repository: Path | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Run the tests of PROJECT: sample inputs with their expected outputs.

    Exits with 0 if all outputs are as expected, 1 if not.
    """
    from triton_kit.project.load import load_project
    from triton_kit.run_tests import run_tests

    loaded = load_project(project, target=target)
    outcomes = run_tests(loaded, url=url, repository=repository, within_s=timeout_s)
    failed = [one for one in outcomes if not one.passed]
    if as_json:
        echo_json(
            [
                {
                    "name": o.name,
                    "model": o.model,
                    "passed": o.passed,
                    "reason": o.reason,
                }
                for o in outcomes
            ]
        )
    else:
        for one in outcomes:
            echo(f"{one.name}  {'passed' if one.passed else f'failed: {one.reason}'}")
        echo(f"{len(outcomes) - len(failed)} of {len(outcomes)} tests passed")
    sys.exit(1 if failed else 0)
