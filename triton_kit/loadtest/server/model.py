"""What a served model says of itself: inputs, outputs, batching."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from triton_kit.errors import SpecError
from triton_kit.tensors import DYNAMIC, Shape, Tensor, data_type

# Triton takes some of what it could be told by number, such as `=`, literally only.
_PLAIN_IN_PATHS = "!$&'()*+,;=:@"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model as its server describes it.

    The shapes of `inputs` and `outputs` leave out the batch axis, which the server
    adds itself where `max_batch_size` is not 0.
    """

    name: str
    version: str
    max_batch_size: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    optional_inputs: frozenset[str] = frozenset()
    is_decoupled: bool = False
    is_sequence: bool = False
    steps: tuple[str, ...] = ()

    def check_batch_size(self, batch_size: int) -> None:
        """Refuse a batch that the model does not take.

        Raises:
            SpecError: the batch is larger than the model's configuration allows.
        """
        if self.max_batch_size == 0 and batch_size > 1:
            raise SpecError(
                f"batch size {batch_size}: model {self.name!r} does not batch "
                "(max_batch_size: 0)",
                hint="leave out -b, or put the batch into --shape",
            )
        if self.max_batch_size and batch_size > self.max_batch_size:
            raise SpecError(
                f"batch size {batch_size}: model {self.name!r} takes at most "
                f"{self.max_batch_size}",
                hint=f"use -b {self.max_batch_size} or less",
            )

    def request_shape(self, shape: Shape, batch_size: int) -> Shape:
        """Return the shape of one request's tensor, batch axis included."""
        return (batch_size, *shape) if self.max_batch_size else shape


def model_info(config: Mapping[str, Any], *, version: str) -> ModelInfo:
    """Read Triton's own JSON form of a model configuration.

    `Any`: the JSON of the server; its layout is Triton's ModelConfig message.
    """
    batches = int(config.get("max_batch_size", 0))
    ensemble = config.get("ensemble_scheduling") or {}
    return ModelInfo(
        name=config["name"],
        version=version,
        max_batch_size=batches,
        inputs=tuple(_tensor(entry) for entry in config.get("input", [])),
        outputs=tuple(_tensor(entry) for entry in config.get("output", [])),
        optional_inputs=frozenset(
            entry["name"] for entry in config.get("input", []) if entry.get("optional")
        ),
        is_decoupled=bool(
            (config.get("model_transaction_policy") or {}).get("decoupled")
        ),
        is_sequence="sequence_batching" in config,
        steps=tuple(step["model_name"] for step in ensemble.get("step", [])),
    )


def _tensor(entry: Mapping[str, Any]) -> Tensor:
    return Tensor(
        name=entry["name"],
        dtype=data_type(entry["data_type"]),
        shape=tuple(int(size) for size in entry["dims"]),
    )


def model_path(model: str, version: str = "") -> str:
    """Return the path of a model (version) below the server's own."""
    path = f"/v2/models/{quote(model, safe=_PLAIN_IN_PATHS)}"
    return (
        f"{path}/versions/{quote(version, safe=_PLAIN_IN_PATHS)}" if version else path
    )


def input_shapes(
    model: ModelInfo,
    wanted: Mapping[str, Shape],
    *,
    batch_size: int,
    may_vary: bool = False,
) -> dict[str, Shape]:
    """Settle the shape of each input, batch axis left out.

    `wanted` may give an input's shape with or without the batch axis. With `may_vary`
    the data has shapes of its own, and inputs that are not in `wanted` may vary.

    Raises:
        SpecError: an input is unknown, its shape contradicts the model, or it varies
            and no shape was given.
    """
    known = {tensor.name for tensor in model.inputs}
    for name in wanted:
        if name not in known:
            raise SpecError(
                f"--shape names {name!r}; the inputs of {model.name!r} are "
                f"{', '.join(sorted(known))}"
            )
    return {
        tensor.name: tensor.shape
        if may_vary and tensor.name not in wanted
        else _settle(model, tensor, wanted.get(tensor.name), batch_size)
        for tensor in model.inputs
    }


def _settle(
    model: ModelInfo, tensor: Tensor, wanted: Shape | None, batch_size: int
) -> Shape:
    said = "x".join(str(size) for size in tensor.shape)
    if wanted is None:
        if DYNAMIC in tensor.shape:
            example = ",".join("1" if s == DYNAMIC else str(s) for s in tensor.shape)
            raise SpecError(
                f"input {tensor.name!r} of {model.name!r} varies in shape ({said})",
                hint=f"say what to send: --shape {tensor.name}:{example}",
            )
        return tensor.shape
    rank = len(tensor.shape)
    if model.max_batch_size and wanted[:1] == (batch_size,) and len(wanted) == rank + 1:
        wanted = wanted[1:]
    fits = len(wanted) == rank and all(
        given >= 0 and expected in (DYNAMIC, given)
        for given, expected in zip(wanted, tensor.shape, strict=True)
    )
    if not fits:
        given = ",".join(str(size) for size in wanted)
        raise SpecError(
            f"--shape {tensor.name}:{given} does not fit: model {model.name!r} says "
            f"{said}" + (" (batch axis left out)" if model.max_batch_size else "")
        )
    return wanted
