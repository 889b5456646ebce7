"""Triton's generate extension: plain JSON there, JSON or server-sent events back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from triton_kit.loadtest.client.http_call import json_values, post
from triton_kit.loadtest.inputs.data import Array, Inputs
from triton_kit.loadtest.request import Parameter, Request
from triton_kit.triton.address import Address
from triton_kit.triton.model import ModelInfo, model_path


def generate_request(
    address: Address,
    model: ModelInfo,
    inputs: Inputs,
    *,
    endpoint: str,
    version: str = "",
    headers: Mapping[str, str] | None = None,
    parameters: Mapping[str, Parameter] | None = None,
    compression: str = "none",
) -> Request:
    """Write one whole POST request to `generate` or `generate_stream`.

    Args:
        address: whose Host header and path prefix to use.
        model: the model, which takes one inference per request here.
        inputs: a value per input, batch axis included.
        endpoint: `generate` or `generate_stream`.
        version: ask for this version instead of the server's choice.
        headers: further headers, such as an API key.
        parameters: what the request says beside its inputs.
        compression: of the body.

    Raises:
        SpecError: an input has no form in JSON.
    """
    fields = {name: _plain(name, array) for name, array in inputs.items()}
    text = json.dumps({**(parameters or {}), **fields}, separators=(",", ":"))
    request = post(
        address,
        f"{model_path(model.name, version)}/{endpoint}",
        {"Content-Type": "application/json"},
        text.encode(),
        headers=headers,
        compression=compression,
    )
    return Request(request)


def _plain(name: str, array: Array) -> Any:  # noqa: ANN401  any JSON value
    """Return a tensor as Triton reads it here: a value, or a list without nesting."""
    plain = json_values(name, array)
    return plain[0] if len(plain) == 1 else plain
