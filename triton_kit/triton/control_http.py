"""Triton's control API over HTTP: server, models, repository, counters, memory."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from triton_kit.errors import ServerError, TransportError
from triton_kit.triton.address import Address, parse_address
from triton_kit.triton.http_client import Response, ask, request_bytes
from triton_kit.triton.json_fields import Fields, list_of_fields, parse_json
from triton_kit.triton.model import (
    IndexEntry,
    ModelInfo,
    ServerInfo,
    explain_absence,
    index_entries,
    model_from_metadata,
    model_info,
    model_path,
)
from triton_kit.triton.refusals import explain_refusal

_WITHIN_S = 10.0
_LOAD_WITHIN_S = 600.0
_HTTP_PORT = 8000
# Triton says that a model is ready a moment before the threads of its instances are.
# It may die of an end of the model in between (docs/serve.md).
_SETTLED_S = 0.05
_SHOWN = 200
_KEY_HINT = (
    "give the server's key: --key-file FILE, or -H 'x-triton-key: KEY'; for tensors in "
    "shared memory, start it with --client-shared-memory"
)


class HttpControl:
    """Asks a server over HTTP; every response but a failed one is JSON.

    Each method raises TransportError where no server responds, or one whose
    responses are not those of Triton.
    """

    def __init__(
        self, address: Address | str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        if isinstance(address, str):
            address = parse_address(address, default_port=_HTTP_PORT)
        self._address = address
        self._headers = dict(headers or {})

    def server(self) -> ServerInfo:
        """Return name and version of the server."""
        response = self._request("GET", "/v2")
        if response.status != HTTPStatus.OK:
            raise explain_refusal(self._address, response)
        metadata = self._json(response, "/v2")
        if not isinstance(metadata, dict) or "name" not in metadata:
            raise explain_refusal(self._address, response)
        fields = Fields(metadata, self._where("/v2"))
        return ServerInfo(
            name=fields.text("name"),
            version=fields.text("version"),
            extensions=tuple(fields.texts("extensions")),
        )

    def is_model_ready(self, name: str, version: str = "") -> bool:
        """Whether the server accepts requests for a model, or one version of it."""
        path = f"{model_path(name, version)}/ready"
        return self._request("GET", path).status == HTTPStatus.OK

    def index(self) -> tuple[IndexEntry, ...]:
        """Return every model that the server knows, loaded or not.

        KServe's own server has no index; it lists the names of its models.

        Raises:
            ServerError: the server keeps it to itself.
        """
        path = "/v2/repository/index"
        response = self._request("POST", path, {})
        if response.status == HTTPStatus.OK:
            entries = self._json(response, path)
            return index_entries(list_of_fields(entries, self._where(path)))
        listed = self._request("GET", "/v2/models")
        if listed.status != HTTPStatus.OK:
            raise _failed(response)
        fields = Fields(self._json(listed, "/v2/models"), self._where("/v2/models"))
        names = fields.texts("models")
        return tuple(IndexEntry(name=name, state="READY") for name in names)

    def load(
        self,
        name: str,
        *,
        config: Mapping[str, Any] | None = None,
        within_s: float = _LOAD_WITHIN_S,
    ) -> None:
        """Load a model, or load it anew; return once it is ready.

        A model that is ready is given 0.05 s first, as with `unload`.

        Args:
            name: of the model.
            config: its whole configuration, in place of that in the repository. It
                stays until another one is given, or the repository's file changes.
            within_s: how long it may take.

        Raises:
            ServerError: it did not load, or the server's models are fixed.
        """
        self._let_settle(name)
        parameters = {"config": json.dumps(config)} if config is not None else {}
        question = {"parameters": parameters} if parameters else {}
        self._call("POST", _repository_path(name, "load"), question, within_s)

    def unload(
        self,
        name: str,
        *,
        with_dependents: bool = False,
        within_s: float = _LOAD_WITHIN_S,
    ) -> None:
        """Unload a model, and with `with_dependents` the steps of an ensemble too.

        A model that is ready is given 0.05 s first: one that became ready just now
        could end a server of release 24.10.

        Raises:
            ServerError: the server's models are fixed.
        """
        self._let_settle(name)
        question = {"parameters": {"unload_dependents": with_dependents}}
        self._call("POST", _repository_path(name, "unload"), question, within_s)

    def metadata(self, name: str, version: str = "") -> Fields:
        """Return a model's versions, inputs and outputs; raises ServerError."""
        return self._fields(model_path(name, version))

    def config(self, name: str, version: str = "") -> Fields:
        """Return a model's configuration with everything that the server filled in.

        Raises:
            ServerError: the server does not report it.
        """
        return self._fields(f"{model_path(name, version)}/config")

    def model(self, name: str, version: str = "") -> ModelInfo:
        """Return what a model takes and returns, once it is known to be ready.

        Raises:
            SpecError: the server has no such model.
            ServerError: the model is there but not ready.
        """
        path = model_path(name, version)
        ready = self._request("GET", f"{path}/ready").status
        described = self._request("GET", path)
        # A gateway may forward metadata and requests only.
        is_known = described.status == HTTPStatus.OK
        if ready != HTTPStatus.OK and not (is_known and ready == HTTPStatus.NOT_FOUND):
            try:
                index = self.index()
            except ServerError:
                index = ()
            explain_absence(index, name, version)
        if not is_known:
            raise ServerError(
                f"the server does not describe model {name!r}: {_failed(described)}"
            )
        metadata = self._fields_of(described, path)
        config = self._request("GET", f"{path}/config")
        if config.status != HTTPStatus.OK:
            return model_from_metadata(metadata, name=name, version=version)
        versions = metadata.texts("versions") or [version]
        return model_info(
            self._fields_of(config, f"{path}/config"), version=version or versions[-1]
        )

    def statistics(self, name: str, version: str = "") -> list[dict[str, Any]]:
        """Return the server's own counters, one entry per loaded version."""
        path = f"{model_path(name, version)}/stats"
        response = self._request("GET", path)
        if response.status != HTTPStatus.OK:
            return []
        fields = Fields(self._json(response, path), self._where(path))
        return [entry.as_json for entry in fields.objects("model_stats")]

    def register_memory(self, name: str, key: str, size: int) -> None:
        """Have the server map `size` bytes of the system's shared memory `key`.

        Raises:
            ServerError: it cannot.
        """
        region = {"key": key, "offset": 0, "byte_size": size}
        self._call("POST", _region_path("system", name, "register"), region)

    def unregister_memory(self, name: str) -> None:
        """Have the server unmap it."""
        self._request("POST", _region_path("system", name, "unregister"))

    def register_cuda_memory(
        self, name: str, handle: bytes, device: int, size: int
    ) -> None:
        """Have the server open `size` bytes of a GPU's memory by its CUDA IPC handle.

        Raises:
            ServerError: it cannot.
        """
        region = {
            "raw_handle": {"b64": base64.b64encode(handle).decode()},
            "device_id": device,
            "byte_size": size,
        }
        self._call("POST", _region_path("cuda", name, "register"), region)

    def unregister_cuda_memory(self, name: str) -> None:
        """Have the server close it."""
        self._request("POST", _region_path("cuda", name, "unregister"))

    def _let_settle(self, name: str) -> None:
        if self.is_model_ready(name):
            time.sleep(_SETTLED_S)

    def _fields(self, path: str) -> Fields:
        return self._fields_of(self._call("GET", path), path)

    def _fields_of(self, response: Response, path: str) -> Fields:
        return Fields(self._json(response, path), self._where(path))

    def _call(
        self,
        method: str,
        path: str,
        question: Mapping[str, Any] | None = None,
        within_s: float = _WITHIN_S,
    ) -> Response:
        """Return a successful response; raises ServerError for a failed one."""
        response = self._request(method, path, question, within_s)
        if response.status != HTTPStatus.OK:
            raise _failed(response)
        return response

    def _request(
        self,
        method: str,
        path: str,
        question: Mapping[str, Any] | None = None,
        within_s: float = _WITHIN_S,
    ) -> Response:
        request = request_bytes(
            method,
            self._address,
            path,
            b"" if question is None else json.dumps(question).encode(),
            fields={} if question is None else {"Content-Type": "application/json"},
            headers=self._headers,
        )
        return ask(self._address, request, within_s=within_s)

    def _json(self, response: Response, path: str) -> Any:  # noqa: ANN401  any JSON
        return parse_json(response.body, self._where(path))

    def _where(self, path: str) -> str:
        return f"{self._address}{path}"


def _repository_path(name: str, what: str) -> str:
    return f"/v2/repository{model_path(name).removeprefix('/v2')}/{what}"


def _region_path(kind: str, name: str, what: str) -> str:
    return f"/v2/{kind}sharedmemory/region/{name}/{what}"


def _failed(response: Response) -> ServerError:
    reason = _reason(response)
    hint = _KEY_HINT if "API is restricted" in reason else None
    return ServerError(f"{reason} (HTTP {response.status})", hint=hint)


def _reason(response: Response) -> str:
    """Return the reason of a failed response, as Triton's JSON or as any text."""
    text = response.body.decode(errors="replace").strip()
    try:
        return Fields(parse_json(response.body, ""), "").text("error", None)
    except TransportError:
        return text[:_SHOWN] or "the server gives no reason"
