"""The OpenAI API: which models a server has, and requests for chats and completions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from typing import Any  # JSON values

from triton_kit.errors import ServerError, SpecError, TransportError, did_you_mean
from triton_kit.loadtest.client.http_call import post
from triton_kit.loadtest.http.server_sent_events import error_text
from triton_kit.loadtest.request import Request
from triton_kit.triton.address import Address
from triton_kit.triton.http_client import Response, ask, request_bytes
from triton_kit.triton.json_fields import Fields, parse_json
from triton_kit.triton.model import IndexEntry, ModelInfo, ServerInfo

PATHS = {"chat": "/v1/chat/completions", "completions": "/v1/completions"}
_MODELS = "/v1/models"
_VERSION = "/v1"
_WITHIN_S = 10.0
_SHOWN = 200
_UNKNOWN = ServerInfo(name="OpenAI API", version="")


def openai_address(address: Address) -> Address:
    """Return an address whose path ends before `/v1`, as many people write it."""
    return replace(address, path=address.path.removesuffix(_VERSION))


class OpenAiControl:
    """Asks a server of the OpenAI API for its models; it has no counters to tell."""

    def __init__(self, address: Address, *, headers: Mapping[str, str]) -> None:
        self._address = openai_address(address)
        self._headers = headers

    def server(self) -> ServerInfo:
        """Return what the server calls itself in its responses.

        Raises:
            TransportError: no server responds there, or it denies access.
        """
        response = self._models()
        if response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise TransportError(
                f"{self._address} denies access: {_shown(response)}",
                hint="give the API key: -H 'Authorization: Bearer KEY'",
            )
        name = response.headers.get("server", _UNKNOWN.name)
        return ServerInfo(name=name, version=_UNKNOWN.version)

    def index(self) -> tuple[IndexEntry, ...]:
        """Return the models that the server lists.

        Raises:
            ServerError: it lists none.
        """
        response = self._models()
        if response.status != HTTPStatus.OK:
            raise ServerError(f"GET {_MODELS} gave {_shown(response)}")
        names = self._names_in(response)
        return tuple(IndexEntry(name=name, state="READY") for name in names)

    def model(self, name: str, version: str = "") -> ModelInfo:
        """Return the model; many gateways list none, and it is taken as it is.

        Raises:
            SpecError: the server lists other models only, or a version is asked for.
        """
        if version:
            raise SpecError(
                f"version {version!r} of {name!r}: models of the OpenAI API have none"
            )
        response = self._models()
        if response.status == HTTPStatus.OK:
            known = self._names_in(response)
            if known and name not in known:
                raise SpecError(
                    f"{self._address} has no model {name!r}",
                    hint=did_you_mean(name, known),
                )
        return ModelInfo(name=name, version="", max_batch_size=0, inputs=(), outputs=())

    def statistics(self, _name: str, _version: str = "") -> list[dict[str, Any]]:
        """Return no counters: the API has none."""
        return []

    def _models(self) -> Response:
        request = request_bytes(
            "GET", self._address, _MODELS, b"", fields={}, headers=self._headers
        )
        return ask(self._address, request, within_s=_WITHIN_S)

    def _names_in(self, response: Response) -> list[str]:
        where = f"GET {_MODELS} of {self._address}"
        fields = Fields(parse_json(response.body, where), where)
        return [entry.text("id", None) for entry in fields.objects("data")]


def _shown(response: Response) -> str:
    """Return the status and the error of a response, or how its body begins."""
    text = response.body.decode(errors="replace")
    with suppress(ValueError, RecursionError):
        text = error_text(json.loads(text)) or text
    return f"HTTP {response.status}: {' '.join(text.split())[:_SHOWN]}"


def openai_request(
    address: Address,
    endpoint: str,
    model: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    max_tokens: int | None,
    extra: Mapping[str, Any],
    headers: Mapping[str, str],
    compression: str = "none",
) -> Request:
    """Write one whole POST request that asks for a stream with usage at its end.

    Args:
        address: whose Host header and path prefix to use.
        endpoint: `chat` or `completions`; of the latter the prompt is the text of all
            messages.
        model: name of the model.
        messages: of the conversation so far.
        max_tokens: limit of the response; None leaves it to the server.
        extra: further fields; they replace those of the same name.
        headers: further headers, such as an API key.
        compression: of the body.
    """
    asked: dict[str, Any] = {"model": model}
    if endpoint == "chat":
        asked["messages"] = list(messages)
    else:
        asked["prompt"] = "\n".join(str(m.get("content", "")) for m in messages)
    if max_tokens is not None:
        asked["max_tokens"] = max_tokens
    asked |= {"stream": True, "stream_options": {"include_usage": True}}
    text = json.dumps(asked | dict(extra), separators=(",", ":"))
    return Request(
        post(
            openai_address(address),
            PATHS[endpoint],
            {"Content-Type": "application/json", "Accept": "text/event-stream"},
            text.encode(),
            headers=headers,
            compression=compression,
        )
    )
