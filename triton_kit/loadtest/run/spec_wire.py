"""A PerfSpec as JSON, for the workers of a measurement; nothing in it is executed."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from triton_kit.loadtest.inputs.draws import StringData
from triton_kit.loadtest.loops.load import (
    ClosedLoad,
    PeriodicLoad,
    RateLoad,
    ScheduleLoad,
)
from triton_kit.loadtest.loops.mix import Share
from triton_kit.loadtest.loops.sequences import Sequences
from triton_kit.loadtest.record.stability import StopRule
from triton_kit.loadtest.results.slo import Objective
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.loadtest.transport_spec import TransportSpec
from triton_kit.triton.tls import Tls

# All that can come out of the JSON, beside plain values.
_KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        PerfSpec,
        ClosedLoad,
        PeriodicLoad,
        RateLoad,
        ScheduleLoad,
        Share,
        Sequences,
        Objective,
        StopRule,
        StringData,
        Tls,
        TransportSpec,
    )
}


def spec_to_json(spec: PerfSpec) -> Any:  # noqa: ANN401  JSON
    """Return a spec as JSON; `spec_from_json` reads it."""
    return _plain(spec)


def spec_from_json(document: Any) -> PerfSpec:  # noqa: ANN401  JSON
    """Read what `spec_to_json` wrote; lists become tuples, as specs have no others."""
    spec = _read(document)
    assert isinstance(spec, PerfSpec)
    return spec


def _plain(value: Any) -> Any:  # noqa: ANN401  JSON
    if is_dataclass(value):
        entries = {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
        return {"kind": type(value).__name__, "fields": entries}
    if isinstance(value, np.ndarray):
        return {"kind": "array", "fields": _plain_array(value)}
    if isinstance(value, Mapping):
        entries = {name: _plain(entry) for name, entry in value.items()}
        return {"kind": "mapping", "fields": entries}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def _plain_array(array: Any) -> dict[str, Any]:  # noqa: ANN401  any dtype
    if array.dtype == np.object_:  # strings, as bytes or as text
        strings = [v if isinstance(v, bytes) else str(v).encode() for v in array.flat]
        items = [base64.b64encode(item).decode() for item in strings]
        return {"strings": items, "shape": list(array.shape)}
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return {"npy": base64.b64encode(file.getvalue()).decode()}


def _read(value: Any) -> Any:  # noqa: ANN401  JSON
    if isinstance(value, list):
        return tuple(_read(entry) for entry in value)
    if not isinstance(value, dict):
        return value
    kind, entries = value["kind"], value["fields"]
    if kind == "array":
        return _read_array(entries)
    read = {name: _read(entry) for name, entry in entries.items()}
    return read if kind == "mapping" else _KINDS[kind](**read)


def _read_array(entries: dict[str, Any]) -> Any:  # noqa: ANN401  any dtype
    if "npy" in entries:
        file = io.BytesIO(base64.b64decode(entries["npy"]))
        return np.load(file, allow_pickle=False)
    strings = np.empty(len(entries["strings"]), np.object_)
    strings[:] = [base64.b64decode(item) for item in entries["strings"]]
    return strings.reshape(entries["shape"])
