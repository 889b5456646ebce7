"""Questions to the server over HTTP."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any

from triton_kit.errors import ServerError, TransportError
from triton_kit.loadtest.client.control import ServerInfo, explain_absence
from triton_kit.triton.address import Address
from triton_kit.triton.model import ModelInfo, model_info, model_path
from triton_kit.triton.tls import handshake_failed

_ANSWER_WITHIN_S = 10.0


class HttpControl:
    """Asks the server questions over HTTP; each answer is JSON."""

    def __init__(
        self, address: Address, *, headers: Mapping[str, str] | None = None
    ) -> None:
        self._address = address
        self._headers = dict(headers or {})

    def server(self) -> ServerInfo:
        """Return what server this is; raises as `Control.server`."""
        status, answer = self._ask("GET", "/v2")
        if status != http.client.OK or "name" not in answer:
            raise TransportError(
                f"{self._address} speaks HTTP, but not the KServe v2 protocol "
                f"(GET /v2 gave {status})",
                hint="Triton's metrics port is another one than its HTTP port (8000)",
            )
        return ServerInfo(name=answer["name"], version=answer.get("version", ""))

    def model(self, name: str, version: str = "") -> ModelInfo:
        """Return what the model says of itself; raises as `Control.model`."""
        path = model_path(name, version)
        status, _ = self._ask("GET", f"{path}/ready")
        if status != http.client.OK:
            _, index = self._ask("POST", "/v2/repository/index")
            explain_absence(index if isinstance(index, list) else [], name, version)
        status, config = self._ask("GET", f"{path}/config")
        if status != http.client.OK:
            reason = config.get("error", f"HTTP {status}")
            raise ServerError(f"model {name!r} does not tell its config: {reason}")
        _, metadata = self._ask("GET", path)
        versions = metadata.get("versions") or [version]
        return model_info(config, version=version or versions[-1])

    def register_memory(self, name: str, key: str, size: int) -> None:
        """Have the server map shared memory; raises as `Control.register_memory`."""
        region = {"key": key, "offset": 0, "byte_size": size}
        self._register("systemsharedmemory", name, region)

    def unregister_memory(self, name: str) -> None:
        """Have the server let go of it."""
        self._ask("POST", f"/v2/systemsharedmemory/region/{name}/unregister")

    def register_cuda_memory(
        self, name: str, handle: bytes, device: int, size: int
    ) -> None:
        """Have the server open GPU memory; raises as `Control.register_cuda_memory`."""
        region = {
            "raw_handle": {"b64": base64.b64encode(handle).decode()},
            "device_id": device,
            "byte_size": size,
        }
        self._register("cudasharedmemory", name, region)

    def unregister_cuda_memory(self, name: str) -> None:
        """Have the server let go of it."""
        self._ask("POST", f"/v2/cudasharedmemory/region/{name}/unregister")

    def _register(self, kind: str, name: str, region: Mapping[str, Any]) -> None:
        path = f"/v2/{kind}/region/{name}/register"
        status, answer = self._ask("POST", path, json.dumps(region))
        if status != http.client.OK:
            raise ServerError(answer.get("error", f"HTTP {status}"))

    def statistics(self, name: str, version: str = "") -> list[dict[str, Any]]:
        """Return the server's own counters, one entry per loaded version."""
        status, answer = self._ask("GET", f"{model_path(name, version)}/stats")
        if status != http.client.OK:
            return []
        stats: list[dict[str, Any]] = answer.get("model_stats", [])
        return stats

    def _connection(self) -> http.client.HTTPConnection:
        host, port, tls = self._address.host, self._address.port, self._address.tls
        if tls is None:
            return http.client.HTTPConnection(host, port, timeout=_ANSWER_WITHIN_S)
        return http.client.HTTPSConnection(
            host, port, timeout=_ANSWER_WITHIN_S, context=tls.context("http/1.1")
        )

    def _ask(
        self, method: str, path: str, question: str | None = None
    ) -> tuple[int, Any]:
        """Return status and parsed JSON; {} where the body is something else."""
        connection = self._connection()
        try:
            connection.request(
                method, f"{self._address.path}{path}", question, self._headers
            )
            response = connection.getresponse()
            body = response.read()
        except http.client.HTTPException as error:
            raise TransportError(
                f"{self._address} answers, but not in HTTP",
                hint="is this the gRPC port? Triton's HTTP port is 8000 by default",
            ) from error
        except ssl.SSLError as error:
            raise handshake_failed(str(self._address), error) from error
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
