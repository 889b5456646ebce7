"""`triton-kit load`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cloup

from triton_kit.cli.command import kit_command
from triton_kit.cli.control_options import with_control
from triton_kit.cli.options import timeout_option
from triton_kit.cli.output import notice

if TYPE_CHECKING:
    from triton_kit.triton.control_http import HttpControl


@kit_command(examples=("triton-kit load digits", "triton-kit load digits -u gpu7:8000"))
@cloup.argument("models", nargs=-1, required=True, help="Models to load, in order.")
@with_control
@timeout_option("Time for each model to load.", default=600.0)
def command(control: HttpControl, *, models: tuple[str, ...], timeout_s: float) -> None:
    """Load MODELS on a server, or load them again with their files as they are now.

    The server must run with --model-control-mode explicit.
    """
    from triton_kit.errors import ServerError, SpecError, did_you_mean

    for model in models:
        try:
            control.load(model, within_s=timeout_s)
        except ServerError as error:
            known = {entry.name for entry in control.index()}
            if not known or model in known:
                raise
            raise SpecError(
                f"{model}: the server's repository has no such model",
                hint=did_you_mean(model, sorted(known)),
            ) from error
        notice(f"{model} is ready")
