"""`triton-kit validate`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: what click hands over

import click
import cloup

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import (
    json_option,
    output_option,
    release_option,
    repositories_argument,
    timeout_option,
)
from triton_kit.cli.output import echo, echo_workflow_commands, escape_controls
from triton_kit.cli.transfer_options import local_repositories, verify_key_option
from triton_kit.errors import SpecError, TritonKitError

if TYPE_CHECKING:
    from triton_kit.repository.check.findings import CheckReport
    from triton_kit.server_verdict import ServerVerdict


@kit_command(
    examples=(
        "triton-kit validate model_repository --release 26.06 --gpus 1",
        "triton-kit validate model_repository --with-server --json",
    )
)
@repositories_argument(
    "The model repositories to check, or addresses of them in object stores.",
    stores=True,
)
@cloup.option_group(
    "Server",
    release_option("Release (26.06) or version (2.70) of the server.", default="2.51"),
    kit_option(
        "--gpus",
        type=click.IntRange(min=0),
        default=0,
        metavar="N",
        help="Number of GPUs of the server.",
    ),
    kit_option(
        "--backends",
        metavar="NAME,...",
        help="Backends of the server.  [default: those of its container]",
    ),
    kit_option(
        "--strict",
        is_flag=True,
        help="The server runs with --disable-auto-complete-config.",
    ),
    kit_option(
        "--model-config-name",
        default="",
        metavar="NAME",
        show_default=False,
        help="The server runs with this --model-config-name.",
    ),
    kit_option(
        "--model-namespacing",
        is_flag=True,
        help="The server runs with --model-namespacing.",
    ),
)
@cloup.option_group(
    "Embedded server",
    kit_option(
        "--with-server",
        is_flag=True,
        help="Load each model in the embedded server too; this runs its model.py.",
    ),
    timeout_option("Longest time to load one model there.", default=60.0),
)
@verify_key_option("Refuse a repository that this key did not sign.")
@cloup.option_group(
    "Output",
    json_option(),
    kit_option(
        "--format",
        "layout",
        type=click.Choice(["text", "json", "github", "sarif", "html"]),
        default="text",
        help="Layout of the report; github: annotations of a pull request; sarif: "
        "for code scanning and editors; html: a page with the lines at fault.",
    ),
    output_option("File to write.  [default: standard output]"),
)
def command(
    repositories: tuple[Path | str, ...],
    *,
    with_server: bool,
    timeout_s: float,
    as_json: bool,
    layout: str,
    output: Path | None,
    verify_key: str | None,
    **server: Any,  # noqa: ANN401
) -> None:
    """Report what a Triton server would refuse in REPOSITORIES, and why.

    Several repositories are checked as one server would serve them together.

    Exits with 0 if the server would load every model, 1 if not, 2 if that is not known.
    """
    from triton_kit.files import write_whole

    try:
        with local_repositories(repositories, verify_key) as folders:
            report = _check(folders, **server)
            strict = server["strict"]
            verdicts = _ask(report, strict, timeout_s) if with_server else None
    except TritonKitError as error:
        # Neither 0 nor 1: the verdict is not known.
        raise SpecError(error.message, hint=error.hint) from error
    layout = "json" if as_json else layout
    text = _rendered(report, verdicts, layout)
    if output is not None:
        write_whole(output, f"{text}\n")
    else:
        # The values in workflow commands are escaped; `echo` would disarm the commands.
        (echo_workflow_commands if layout == "github" else echo)(text)
    rejected = [v.model for v in verdicts or () if v.accepted is False]
    sys.exit(0 if report.accepted and not rejected else 1)


def _check(
    repositories: tuple[Path, ...],
    *,
    release: str,
    gpus: int,
    backends: str | None,
    strict: bool,
    model_config_name: str,
    model_namespacing: bool,
) -> CheckReport:
    from triton_kit.repository.check.check import check_repository

    return check_repository(
        repositories,
        server=release,
        gpus=gpus,
        strict=strict,
        backends=None if backends is None else [b for b in backends.split(",") if b],
        config_name=model_config_name,
        namespacing=model_namespacing,
    )


def _ask(report: CheckReport, strict: bool, timeout_s: float) -> list[ServerVerdict]:
    from triton_kit.server_verdict import ask_embedded_server

    return ask_embedded_server(report, strict=strict, load_within_s=timeout_s)


def _rendered(
    report: CheckReport, verdicts: list[ServerVerdict] | None, layout: str
) -> str:
    """Write the report, and what the server decided if it was asked."""
    from triton_kit.repository.check.report import FORMATS
    from triton_kit.repository.check.sarif import as_sarif
    from triton_kit.server_verdict import render_verdicts, with_verdicts

    if layout == "sarif":
        return as_sarif(with_verdicts(report, verdicts or []))
    if layout == "html":
        from triton_kit.ui.check_page import check_page

        return check_page(with_verdicts(report, verdicts or []))
    text = FORMATS[layout](report)
    if verdicts is None:
        return text
    if layout == "json":
        asked = [asdict(verdict) for verdict in verdicts]
        return json.dumps(json.loads(text) | {"embedded_server": asked}, indent=2)
    # Reasons are the server's words: they must not command a CI service.
    return f"{text}\n{escape_controls(render_verdicts(report, verdicts))}"
