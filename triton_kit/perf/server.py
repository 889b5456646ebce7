"""Questions to the server: who it is, what the model takes, what it counted."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from triton_kit.errors import (
    ServerError,
    SpecError,
    TransportError,
    did_you_mean,
)
from triton_kit.perf.address import Address
from triton_kit.perf.model import ModelInfo, model_info
from triton_kit.perf.wire.kserve_http import model_path

_ANSWER_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """Name and version of the server, as it says itself."""

    name: str
    version: str


class HttpControl:
    """Asks the server questions over HTTP; each answer is JSON."""

    def __init__(
        self, address: Address, *, headers: Mapping[str, str] | None = None
    ) -> None:
        self._address = address
        self._headers = dict(headers or {})

    def server(self) -> ServerInfo:
        """Return what server this is.

        Raises:
            TransportError: nobody listens there, or somebody who speaks otherwise.
        """
        status, answer = self._ask("GET", "/v2")
        if status != http.client.OK or "name" not in answer:
            raise TransportError(
                f"{self._address} speaks HTTP, but not the KServe v2 protocol "
                f"(GET /v2 gave {status})",
                hint="Triton's metrics port is another one than its HTTP port (8000)",
            )
        return ServerInfo(name=answer["name"], version=answer.get("version", ""))

    def model(self, name: str, version: str = "") -> ModelInfo:
        """Return what the model says of itself, once it is known to be ready.

        Raises:
            SpecError: the server has no such model.
            ServerError: the model is there but not ready.
        """
        path = model_path(name, version)
        status, _ = self._ask("GET", f"{path}/ready")
        if status != http.client.OK:
            self._explain_absence(name, version)
        status, config = self._ask("GET", f"{path}/config")
        if status != http.client.OK:
            reason = config.get("error", f"HTTP {status}")
            raise ServerError(f"model {name!r} does not tell its config: {reason}")
        _, metadata = self._ask("GET", path)
        versions = metadata.get("versions") or [version]
        return model_info(config, version=version or versions[-1])

    def statistics(self, name: str, version: str = "") -> list[dict[str, Any]]:
        """Return the server's own counters, one entry per loaded version."""
        status, answer = self._ask("GET", f"{model_path(name, version)}/stats")
        if status != http.client.OK:
            return []
        stats: list[dict[str, Any]] = answer.get("model_stats", [])
        return stats

    def _explain_absence(self, name: str, version: str) -> None:
        _, index = self._ask("POST", "/v2/repository/index")
        entries = index if isinstance(index, list) else []
        wanted = f"{name!r} version {version}" if version else repr(name)
        for entry in entries:
            if entry["name"] == name and version in ("", entry.get("version")):
                state = entry.get("state", "not loaded")
                reason = entry.get("reason") or "the server gives no reason"
                raise ServerError(
                    f"model {wanted} is not ready: {state}, {reason}",
                    hint="the server's log says why a model failed to load",
                )
        known = {entry["name"] for entry in entries}
        if name in known:
            versions = [e.get("version", "?") for e in entries if e["name"] == name]
            raise SpecError(
                f"the server has no model {wanted}",
                hint=f"versions of {name!r}: {', '.join(versions)}",
            )
        raise SpecError(
            f"the server at {self._address} has no model {wanted}",
            hint=did_you_mean(name, known) if known else "it has no models at all",
        )

    def _ask(self, method: str, path: str) -> tuple[int, Any]:
        """Return status and parsed JSON; {} where the body is something else."""
        connection = http.client.HTTPConnection(
            self._address.host, self._address.port, timeout=_ANSWER_WITHIN_S
        )
        try:
            connection.request(
                method, f"{self._address.path}{path}", headers=self._headers
            )
            response = connection.getresponse()
            body = response.read()
        except http.client.HTTPException as error:
            raise TransportError(
                f"{self._address} answers, but not in HTTP",
                hint="is this the gRPC port? Triton's HTTP port is 8000 by default",
            ) from error
        except TimeoutError as error:
            raise TransportError(
                f"{self._address} did not answer within {_ANSWER_WITHIN_S:g} s"
            ) from error
        except OSError as error:
            raise TransportError(
                f"cannot connect to {self._address}: {error.strerror or error}",
                hint="is the server running, and is this its port? (-u HOST:PORT)",
            ) from error
        finally:
            connection.close()
        try:
            return response.status, json.loads(body or b"{}")
        except ValueError:
            return response.status, {}
