"""The real embedded server asked for its verdict, beside the kit's own."""

from __future__ import annotations

import re
from dataclasses import dataclass

from triton_kit.errors import ServerError, TransportError
from triton_kit.process import describe_exit
from triton_kit.repository.check.findings import CheckReport
from triton_kit.serving.embedded import Server, running
from triton_kit.serving.readiness import reasons_in_log, tidy
from triton_kit.serving.spec import ServeSpec
from triton_kit.triton.control_http import HttpControl

_LOAD_WITHIN_S = 120.0
_HTTP = re.compile(r" \(HTTP \d+\)$")
_NO_BACKEND = "unable to find backend library"


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the server made of a model.

    `accepted` is None where it could not be asked: the model would abort it, or needs
    a backend that it does not have.
    """

    model: str
    accepted: bool | None
    reason: str

    @property
    def verdict(self) -> str:
        """The verdict as a word."""
        return {True: "accepted", False: "rejected", None: "not judged"}[self.accepted]


def second_opinions(report: CheckReport, *, strict: bool = False) -> list[Opinion]:
    """Load each model of a checked repository in a scratch embedded server.

    A model that is known to abort the server is not loaded; one that does so all the
    same costs a new start.

    Raises:
        MissingExtraError: there is no embedded server.
        ServerError: it does not start.
    """
    fatal = {f.model: f.message for f in report.errors if f.aborts_server}
    opinions = {name: Opinion(name, None, why) for name, why in fatal.items()}
    waiting = [name for name in report.models if name not in fatal]
    spec = ServeSpec(
        repository=report.root,
        model_control="explicit",
        strict_model_config=strict,
        stop_within_s=5.0,
    )
    while waiting:
        with running(spec) as server:
            while waiting and server.process.poll() is None:
                opinion = _ask(server, waiting.pop(0))
                opinions[opinion.model] = opinion
    return [opinions[name] for name in report.models if name in opinions]


def _ask(server: Server, model: str) -> Opinion:
    control = HttpControl(server.http_url)
    try:
        control.load(model, within_s=_LOAD_WITHIN_S)
    except ServerError as error:
        reason = _reason(server, model, error)
        return Opinion(model, None if _NO_BACKEND in reason else False, reason)
    except TransportError:
        return Opinion(model, False, _ending(server))
    control.unload(model, with_dependents=True)
    return Opinion(model, accepted=True, reason="")


def _ending(server: Server) -> str:
    """Say how the server ended; stop it if it hangs."""
    code = server.process.poll()
    if code is None:
        server.process.kill()
        server.process.wait()
        return f"the server did not answer within {_LOAD_WITHIN_S:g} s"
    return f"the server ended: {describe_exit(code)}"


def _reason(server: Server, model: str, error: ServerError) -> str:
    said = _HTTP.sub("", error.message)
    if "failed to poll from model repository" in said:
        # The reply hides the reason: only the log has it.
        return reasons_in_log(server.log).get(model, said)
    return tidy(said)
