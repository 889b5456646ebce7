"""`triton-kit unload`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cloup

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.control_options import with_control
from triton_kit.cli.options import timeout_option
from triton_kit.cli.output import notice

if TYPE_CHECKING:
    from triton_kit.triton.control_http import HttpControl


@kit_command(examples=("triton-kit unload digits", "triton-kit unload -u gpu7 digits"))
@cloup.argument("models", nargs=-1, required=True, help="Models to unload, in order.")
@kit_option(
    "--with-dependents",
    is_flag=True,
    help="Unload the steps of an ensemble as well.",
)
@with_control
@timeout_option("Time for each model to unload.", default=600.0)
def command(
    control: HttpControl,
    *,
    models: tuple[str, ...],
    with_dependents: bool,
    timeout_s: float,
) -> None:
    """Unload MODELS on a server; requests that it has are finished first.

    The server must run with --model-control-mode explicit.
    """
    for model in models:
        control.unload(model, with_dependents=with_dependents, within_s=timeout_s)
        notice(f"{model} is unloaded, or will be once its requests are finished")
