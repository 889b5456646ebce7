"""The original's own noise: how far its outputs move for next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from onnx import ModelProto

from triton_kit.conversion.onnx.onnx_file import all_nodes
from triton_kit.conversion.verify.compare import tally
from triton_kit.conversion.workers.models import FeedFiles, write_feeds
from triton_kit.conversion.workers.samples import Array, Outputs, read_feed
from triton_kit.errors import VerifyError

RELATIVE_NOISE = 1e-7  # of the inputs: half a step of float32
_RANDOM_OPS = ("Bernoulli", "Multinomial")
_DROPOUT_INPUTS = 3  # the third one says that it drops

Run = Callable[[FeedFiles], list[Outputs]]


class OwnNoise:
    """Runs the original again, at most twice, and only if its noise is needed.

    Args:
        feeds: the verification inputs.
        outputs: the original's.
        run: runs the original on other inputs.
        folder: takes the noisy inputs.
    """

    def __init__(
        self, feeds: FeedFiles, outputs: Sequence[Outputs], run: Run, folder: Path
    ) -> None:
        self._feeds = feeds
        self._outputs = outputs
        self._run = run
        self._folder = folder

    @cached_property
    def random(self) -> frozenset[str]:
        """The outputs that differ when the same inputs are run again."""
        again = self._run(self._feeds)
        return frozenset(
            name
            for name in self._outputs[0]
            if any(
                tally(a[name], b[name]).noise > 0
                or not np.array_equal(a[name].shape, b[name].shape)
                for a, b in zip(self._outputs, again, strict=True)
            )
        )

    @cached_property
    def moved(self) -> list[Outputs] | None:
        """The outputs for inputs with relative noise of 1e-7.

        None where no input is float, so that none can have noise, or the original does
        not run on such inputs.
        """
        rng = np.random.default_rng(0)
        noisy = [
            {name: _noisy(array, rng) for name, array in feed.items()}
            for path in self._feeds.paths
            if (feed := read_feed(path, self._feeds.names))
        ]
        if not any(a.dtype.kind == "f" for feed in noisy for a in feed.values()):
            return None
        feeds = write_feeds(noisy, self._folder, labels=self._feeds.labels)
        try:
            return self._run(feeds)
        except VerifyError:
            return None


def _noisy(array: Array, rng: np.random.Generator) -> Array:
    if array.dtype.kind != "f":
        return array
    noise = 1 + RELATIVE_NOISE * rng.standard_normal(array.shape)
    return np.asarray(array * noise, array.dtype)


def has_random_nodes(model: ModelProto) -> bool:
    """Say whether an operator of a graph, or of a body in it, draws values."""
    return any(
        node.op_type.startswith("Random")
        or node.op_type in _RANDOM_OPS
        or (node.op_type == "Dropout" and len(node.input) == _DROPOUT_INPUTS)
        for node in all_nodes(model.graph)
    )
