"""Questions and orders to a running server, over its HTTP endpoint."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any  # JSON of the server: its shape is its own
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from triton_kit.errors import ServerError, TransportError

ASK_WITHIN_S = 10.0
LOAD_WITHIN_S = 600.0
# Triton takes some of what it could be told by number, such as `=`, literally only.
_PLAIN_IN_PATHS = "!$&'()*+,;=:@"

# No proxy: a server on loopback is never behind one, whatever the environment says.
_opener = build_opener(ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One model version in the repository index; version and state may be empty."""

    name: str
    version: str
    state: str
    reason: str

    @property
    def is_ready(self) -> bool:
        """Whether requests for it are answered."""
        return self.state == "READY"


def server_metadata(url: str) -> dict[str, Any]:
    """Return the server's name, version and extensions."""
    answer: dict[str, Any] = _call(url, "/v2")
    return answer


def is_live(url: str, *, within_s: float = 1.0) -> bool:
    """Whether somebody answers, and says that it lives."""
    return _says_yes(url, "/v2/health/live", within_s)


def is_ready(url: str, *, within_s: float = 1.0) -> bool:
    """Whether the server calls itself ready as a whole.

    One failed load makes a 24.10 server say no until it is restarted, while every
    other model answers: prefer `is_model_ready`.
    """
    return _says_yes(url, "/v2/health/ready", within_s)


def is_model_ready(url: str, model: str, *, version: str | None = None) -> bool:
    """Whether a model, or one version of it, answers requests."""
    return _says_yes(url, f"{_model_path(model, version)}/ready", ASK_WITHIN_S)


def repository_index(url: str) -> tuple[IndexEntry, ...]:
    """Return every model the server knows, loaded or not, with Triton's own reason."""
    entries = _call(url, "/v2/repository/index", body={})
    return tuple(
        IndexEntry(
            entry["name"],
            entry.get("version", ""),
            entry.get("state", ""),
            entry.get("reason", ""),
        )
        for entry in entries
    )


def load_model(url: str, model: str, *, within_s: float = LOAD_WITHIN_S) -> None:
    """Load a model, or load it anew; returns once it is ready.

    Raises:
        ServerError: it did not load, or the server's models are fixed.
        TransportError: no answer in time.
    """
    _call(
        url, f"/v2/repository{_model_path(model)[3:]}/load", body={}, within_s=within_s
    )


def unload_model(
    url: str,
    model: str,
    *,
    with_dependents: bool = False,
    within_s: float = LOAD_WITHIN_S,
) -> None:
    """Unload a model, and with `with_dependents` the steps of an ensemble too."""
    body = {"parameters": {"unload_dependents": with_dependents}}
    path = f"/v2/repository{_model_path(model)[3:]}/unload"
    _call(url, path, body=body, within_s=within_s)


def model_metadata(
    url: str, model: str, *, version: str | None = None
) -> dict[str, Any]:
    """Return a model's versions, inputs and outputs."""
    answer: dict[str, Any] = _call(url, _model_path(model, version))
    return answer


def model_config(url: str, model: str, *, version: str | None = None) -> dict[str, Any]:
    """Return a model's configuration with everything the server filled in."""
    answer: dict[str, Any] = _call(url, f"{_model_path(model, version)}/config")
    return answer


def model_statistics(url: str, model: str | None = None) -> dict[str, Any]:
    """Return the counters of one model, or of all: requests, batches, durations."""
    path = "/v2/models" if model is None else _model_path(model)
    answer: dict[str, Any] = _call(url, f"{path}/stats")
    return answer


def _model_path(model: str, version: str | None = None) -> str:
    path = f"/v2/models/{quote(model, safe=_PLAIN_IN_PATHS)}"
    if version is None:
        return path
    return f"{path}/versions/{quote(version, safe=_PLAIN_IN_PATHS)}"


def _says_yes(url: str, path: str, within_s: float) -> bool:
    try:
        with _opener.open(url + path, timeout=within_s) as reply:
            return bool(reply.status == 200)
    except (HTTPException, OSError):
        return False


def _call(
    url: str,
    path: str,
    *,
    body: dict[str, Any] | None = None,
    within_s: float = ASK_WITHIN_S,
) -> Any:  # noqa: ANN401
    data = None if body is None else json.dumps(body).encode()
    request = Request(url + path, data=data)
    try:
        with _opener.open(request, timeout=within_s) as reply:
            text = reply.read()
    except HTTPError as error:
        raise ServerError(f"{url}{path}: {_refusal(error)}") from error
    except (HTTPException, OSError) as error:
        why = error.reason if isinstance(error, URLError) else error
        raise TransportError(
            f"{url}{path}: no answer: {why}", hint="is a Triton server running there?"
        ) from error
    try:
        return json.loads(text or "{}")
    except ValueError as error:
        raise TransportError(
            f"{url}{path}: the answer is not JSON: {text[:80]!r}",
            hint="is this the HTTP port of a Triton server?",
        ) from error


def _refusal(error: HTTPError) -> str:
    text = error.read().decode(errors="replace")
    try:
        reason = json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        reason = text.strip()[:200] or error.reason
    return f"{reason} (HTTP {error.code})"
