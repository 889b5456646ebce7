"""One inference: its outputs, as a client gets them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any  # values of any type

import numpy as np

from triton_kit.errors import ServerError, TransportError
from triton_kit.loadtest.client.single_call import call_once
from triton_kit.loadtest.inputs.data import Array, Inputs
from triton_kit.loadtest.inputs.steps import InputStep
from triton_kit.loadtest.loops.sequences import Sequences
from triton_kit.loadtest.request import Request
from triton_kit.loadtest.run.request_source import RequestSource, encode_requests
from triton_kit.loadtest.run.served_models import ServedModels, fetch_served_models
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.triton.model import ModelInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One output: `datatype` is the protocol's (`FP32`); bf16 values are float32."""

    datatype: str
    values: Array

    def plain(self, *, most: int | None = None) -> list[Any]:
        """Return the values as JSON has them: nested lists, or a flat list of some.

        Strings that are not UTF-8 have escapes for the other bytes.
        """
        values = self.values if most is None else self.values.ravel()[:most]
        if values.dtype == object:
            text = [item.decode(errors="backslashreplace") for item in values.ravel()]
            values = np.array(text, object).reshape(values.shape)
        listed: list[Any] = np.atleast_1d(values).tolist()
        return listed


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """The response to one request.

    Attributes:
        model: the name of the model.
        version: the version that the server would choose, unless one was asked for.
        outputs: output -> values, with the batch axis; those of a stream are joined.
        responses: how many messages the response had; 1 unless the model streams.
        latency_ms: from sending to the last byte.
    """

    model: str
    version: str
    outputs: Mapping[str, Output]
    responses: int
    latency_ms: float


def infer(spec: PerfSpec, *, within_s: float = 60.0) -> Inference:
    """Send the first request of a spec and return the response.

    Args:
        spec: model, address, protocol and input data; loads have no effect.
        within_s: time for the response, in seconds.

    Raises:
        TransportError: no server responds, or not in time.
        SpecError: the model is not there, or the data does not fit it.
        ServerError: the model is not ready, or the request failed.
    """
    with fetch_served_models(spec) as served:
        return send_one(served, within_s=within_s)


def send_one(
    served: ServedModels, inputs: Inputs | None = None, *, within_s: float
) -> Inference:
    """Send one request to a model that was fetched already.

    Args:
        served: a single model.
        inputs: its inputs, with the batch axis; None: those that the spec asks for.
        within_s: time for the response, in seconds.

    Raises:
        TransportError: the server does not respond in time, or not in this protocol.
        SpecError: the data does not fit the model.
        ServerError: the request failed.
    """
    [one] = served.each
    asked = served.spec
    if asked.sequences is not None:  # a sequence that this one request is all of
        asked = replace(asked, sequences=Sequences(length=1, variation=0))
    steps = None if inputs is None else [InputStep(inputs=inputs)]
    source = encode_requests(asked, one.model, one.protocol, steps)
    end = call_once(
        lambda reactor: one.protocol.transport(reactor, True),
        _first(source),
        within_s=within_s,
    )
    if not end.is_done:
        raise TransportError(f"{asked.url} did not respond within {within_s:g} s")
    if end.failure is not None:
        raise ServerError(
            f"model {one.model.name!r}: {end.failure.kind}: {end.failure.detail}"
        )
    try:
        arrays = one.protocol.decode(end.response)
    except ValueError as error:
        raise TransportError(f"{asked.url}: {error}") from error
    return Inference(
        model=one.model.name,
        version=one.model.version,
        outputs=_outputs(arrays, one.model),
        responses=max(1, end.responses),
        latency_ms=(end.last_ns - end.sent_ns) / 1e6,
    )


def _first(source: RequestSource) -> Request:
    if source.sequence_source is not None:
        return next(source.sequence_source(0).requests)
    return source.requests[0]


def _outputs(arrays: Mapping[str, Array], model: ModelInfo) -> dict[str, Output]:
    names = {tensor.name: tensor.dtype.name for tensor in model.outputs}
    return {
        name: Output(
            datatype=names.get(name, ""),
            values=widened(array) if names.get(name) == "BF16" else array,
        )
        for name, array in arrays.items()
    }


def widened(words: Array) -> Array:
    """Widen bfloat16, which travels as uint16 words."""
    return (words.astype(np.uint32) << 16).view(np.float32)


def npz_bytes(outputs: Mapping[str, Output]) -> bytes:
    """Return an .npz of the outputs; strings become bytes of a fixed length."""
    file = io.BytesIO()
    arrays = {
        name: output.values.astype(bytes)
        if output.values.dtype == object
        else output.values
        for name, output in outputs.items()
    }
    np.savez(file, **arrays)
    return file.getvalue()
