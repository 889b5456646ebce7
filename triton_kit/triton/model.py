"""What a served model says of itself: inputs, outputs, batching."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from triton_kit.errors import SpecError
from triton_kit.tensors import Shape, Tensor, data_type

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
