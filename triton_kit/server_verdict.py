"""A checked repository becomes the verdicts of the real embedded server."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from triton_kit.errors import ServerError, TransportError
from triton_kit.process import describe_exit
from triton_kit.repository.check.findings import (
    ERROR,
    SERVER_RULE,
    CheckReport,
    Finding,
)
from triton_kit.serving.embedded import running
from triton_kit.serving.readiness import reasons_in_log, tidy
from triton_kit.serving.server import Server
from triton_kit.serving.spec import ServeSpec

LOAD_WITHIN_S = 60.0
_HTTP = re.compile(r" \(HTTP \d+\)$")
_NO_BACKEND = "unable to find backend library"


@dataclass(frozen=True, slots=True)
class ServerVerdict:
    """What the embedded server decided about a model.

    `accepted` is None where it was not asked, or cannot judge: the model would end or
    block it, or needs a backend or a feature that it does not have.
    """

    model: str
    accepted: bool | None
    reason: str

    @property
    def verdict(self) -> str:
        """The verdict as a word."""
        return {True: "accepted", False: "rejected", None: "not judged"}[self.accepted]


def ask_embedded_server(
    report: CheckReport, *, strict: bool = False, load_within_s: float = LOAD_WITHIN_S
) -> list[ServerVerdict]:
    """Load each model of a checked repository in a scratch embedded server.

    Models that are known to end or block the server are not loaded. If a model does so
    unexpectedly, the server is started again for the remaining models.

    Args:
        report: the check of the repository.
        strict: whether the server runs with --disable-auto-complete-config.
        load_within_s: how long one model may take to load.

    Raises:
        MissingExtraError: no embedded server is installed.
        ServerError: it does not start.
    """
    whole = next((f for f in report.errors if not f.model), None)
    if whole is not None:
        return [ServerVerdict(name, None, whole.message) for name in report.models]
    verdicts = _without_asking(report)
    waiting = [name for name in report.models if name not in verdicts]
    spec = ServeSpec(
        repository=report.root,
        model_control="explicit",
        strict_model_config=strict,
        stop_within_s=5.0,
    )
    is_native = False
    while waiting:
        before = len(waiting)
        try:
            with running(spec) as server:
                is_native = server.onnxruntime_backend.startswith("native")
                while waiting and server.process.poll() is None:
                    verdict = _ask(server, waiting.pop(0), load_within_s)
                    verdicts[verdict.model] = verdict
        except ServerError:
            if len(waiting) == before:  # it did not even start
                raise
    if not is_native:
        for name, verdict in verdicts.items():
            verdicts[name] = _not_judged(report, verdict) or verdict
    return [verdicts[name] for name in report.models]


def _without_asking(report: CheckReport) -> dict[str, ServerVerdict]:
    fatal = {
        f.model: f.message for f in report.errors if f.aborts_server or f.blocks_server
    }
    return {name: ServerVerdict(name, None, why) for name, why in fatal.items()}


def _not_judged(report: CheckReport, verdict: ServerVerdict) -> ServerVerdict | None:
    """Return another verdict where the model uses what the backend in Python lacks."""
    features = report.embedded_lacks.get(verdict.model, ())
    if verdict.accepted is not False or not features:
        return None
    reason = f"the embedded server lacks {', '.join(features)}"
    return ServerVerdict(verdict.model, None, reason)


def _ask(server: Server, model: str, load_within_s: float) -> ServerVerdict:
    control = server.control
    try:
        control.load(model, within_s=load_within_s)
    except ServerError as error:
        reason = _reason(server, model, error)
        is_judged = _NO_BACKEND not in reason
        return ServerVerdict(model, False if is_judged else None, reason)
    except TransportError:
        return ServerVerdict(model, False, _end(server, load_within_s))
    with suppress(ServerError, TransportError):
        control.unload(model, with_dependents=True)
    return ServerVerdict(model, accepted=True, reason="")


def _end(server: Server, load_within_s: float) -> str:
    """Return how the server ended; stop it if it hangs."""
    code = server.process.poll()
    if code is None:
        server.process.kill()
        server.process.wait()
        return f"the model did not load within {load_within_s:g} s"
    return f"the server ended: {describe_exit(code)}"


def _reason(server: Server, model: str, error: ServerError) -> str:
    text = _HTTP.sub("", error.message)
    if "failed to poll from model repository" in text:
        # The response hides the reason: only the log has it.
        return reasons_in_log(server.log).get(model, text)
    return tidy(text)


def with_verdicts(report: CheckReport, verdicts: list[ServerVerdict]) -> CheckReport:
    """Return a report with a finding for each model that only the server rejects."""
    rejected = set(report.rejected_models())
    found = [
        Finding(
            model=verdict.model,
            rule=SERVER_RULE,
            severity=ERROR,
            path=_config_path(report, verdict.model),
            line=0,
            column=0,
            message=f"the embedded server rejects the model: {verdict.reason}",
            hint=None,
            server_text=verdict.reason,
        )
        for verdict in verdicts
        if verdict.accepted is False and verdict.model not in rejected
    ]
    return replace(report, findings=(*report.findings, *found))


def _config_path(report: CheckReport, model: str) -> Path:
    folder = next((r / model for r in report.roots if (r / model).is_dir()), None)
    folder = folder or report.root / model
    config = folder / "config.pbtxt"
    return config if config.is_file() else folder


def render_verdicts(report: CheckReport, verdicts: list[ServerVerdict]) -> str:
    """Write the server's verdicts beside the check's own, a line per model."""
    rejected = set(report.rejected_models())
    lines = ["The embedded server:"]
    for verdict in verdicts:
        own = "rejected" if verdict.model in rejected else "accepted"
        lines.append(f"  {verdict.model}: {verdict.verdict} (by the kit: {own})")
        lines += [f"    {verdict.reason}"] if verdict.reason else []
    return "\n".join(lines)
