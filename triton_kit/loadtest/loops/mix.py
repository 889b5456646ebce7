"""Several models in one run: their shares, and the order of their requests."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from triton_kit.errors import SpecError
from triton_kit.loadtest.request import Request
from triton_kit.tensors import Shape

_HEAVIEST = 1000
# The order repeats after about this many requests.
_ORDER = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShare:
    """One of several models; a field that is None has the value of all models.

    Attributes:
        model: its name.
        weight: its part of the requests, against the weights of the others.
        version: which version.
        batch_size: inferences per request.
        shapes: input -> shape.
        input_data: as `PerfSpec.input_data`.
    """

    model: str
    weight: int = 1
    version: str | None = None
    batch_size: int | None = None
    shapes: Mapping[str, Shape] | None = None
    input_data: str | Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not self.model:
            raise SpecError("no model named", hint="-m NAME=WEIGHT")
        if not 1 <= self.weight <= _HEAVIEST:
            raise SpecError(
                f"weight {self.weight} of model {self.model!r}: need a whole number "
                f"from 1 to {_HEAVIEST}"
            )


def deal(
    hands: Sequence[Sequence[Request]], weights: Sequence[int], *, seed: int
) -> list[Request]:
    """Return the order in which the requests of several models leave, to be repeated.

    It is cut into blocks as short as the weights allow. Each block has every model as
    often as its weight says, in an order of its own drawn from `seed`.

    Args:
        hands: the requests of each model, which it sends in turn.
        weights: of each model.
        seed: the same seed gives the same order.
    """
    generator = np.random.default_rng(seed)
    unit = math.gcd(*weights)
    counts = [weight // unit for weight in weights]
    block = np.repeat(np.arange(len(hands)), counts)
    blocks = max(
        _ORDER // len(block),
        *(-(-len(hand) // count) for hand, count in zip(hands, counts, strict=True)),
        1,
    )
    slot_requests = [itertools.cycle(hand) for hand in hands]
    return [
        next(slot_requests[model])
        for _ in range(blocks)
        for model in generator.permutation(block).tolist()
    ]
