"""Requests joined into as few runs of a graph as their shapes allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
from onnxruntime_graph import Graph
from onnxruntime_tensors import RefusedError, bfloat16_value, words_of

Arrays = dict[str, np.ndarray]


class _Part(NamedTuple):
    """One request: its place among the requests, its inputs, what it wants back."""

    place: int
    feeds: Arrays
    wanted: Sequence[str]


class Batch:
    """Collects requests, then runs them; each gets its own outputs or its own error.

    Requests can share a run when they bring the same inputs with the same shapes
    behind the batch axis. A run that fails for several is repeated for each of them,
    so that only the request at fault is refused.
    """

    def __init__(self, graph: Graph, *, batched: bool) -> None:
        self._graph = graph
        self._batched = batched
        self._groups: dict[object, list[_Part]] = {}

    def add(self, place: int, feeds: Arrays, wanted: Sequence[str]) -> None:
        """Take one request.

        Raises:
            RefusedError: an input is missing, or they disagree on the batch size.
        """
        if not self._graph.inputs.keys() <= feeds.keys():
            missing = next(name for name in self._graph.inputs if name not in feeds)
            raise RefusedError(f"input {missing!r} is missing")
        key: object = place
        if self._batched:
            key = tuple([(name, array.shape[1:]) for name, array in feeds.items()])
            if len(feeds) > 1:
                _check_batch_sizes(feeds)
        else:
            feeds = {name: self._unscaled(name, a) for name, a in feeds.items()}
        self._groups.setdefault(key, []).append(_Part(place, feeds, wanted))

    def run(self) -> Iterator[tuple[int, Arrays | RefusedError]]:
        """Yield the index and the outputs of every request."""
        for parts in self._groups.values():
            yield from self._outputs(parts)

    def _unscaled(self, name: str, array: np.ndarray) -> np.ndarray:
        """Take off the axis of size 1 that a config gives to a tensor without axes."""
        tensor = self._graph.feeds[name]
        return array.reshape(()) if not tensor.shape and array.size == 1 else array

    def _outputs(
        self, parts: list[_Part]
    ) -> Iterator[tuple[int, Arrays | RefusedError]]:
        try:
            outputs = self._run(_joined(parts), _wanted(parts))
            if self._batched:
                yield from _split(parts, outputs)
            else:
                [part] = parts
                yield part.place, {name: outputs[name] for name in part.wanted}
        except RefusedError as error:
            if len(parts) == 1:
                yield parts[0].place, error
                return
            for part in parts:
                yield from self._outputs([part])

    def _run(self, feeds: Arrays, wanted: list[str]) -> Arrays:
        try:
            if self._graph.has_bfloat16:
                return self._run_values(feeds, wanted)
            values = self._graph.session.run(wanted, feeds)
        except Exception as error:  # its error classes have no common base but this one
            raise RefusedError(f"onnxruntime: {error}") from error
        return dict(zip(wanted, map(np.asarray, values), strict=True))

    def _run_values(self, feeds: Arrays, wanted: list[str]) -> Arrays:
        """Run with onnxruntime's own values, the only form bfloat16 has in Python."""
        import onnxruntime as ort

        values = self._graph.session.run_with_ort_values(
            wanted,
            {
                name: bfloat16_value(array)
                if self._graph.feeds[name].data_type == "TYPE_BF16"
                else ort.OrtValue.ortvalue_from_numpy(array)
                for name, array in feeds.items()
            },
        )
        return {
            name: words_of(value)
            if self._graph.outputs[name].data_type == "TYPE_BF16"
            else np.asarray(value.numpy())
            for name, value in zip(wanted, values, strict=True)
        }


def _split(parts: list[_Part], outputs: Arrays) -> Iterator[tuple[int, Arrays]]:
    """Yield the place of each request and its rows of the outputs that it wants."""
    starts = list(accumulate(map(_batch_size, parts), initial=0))
    for name, value in outputs.items():
        if value.shape[:1] != (starts[-1],):
            message = (
                f"output {name!r} has shape {list(value.shape)}: its first axis "
                f"is not the batch of {starts[-1]}; max_batch_size must be 0"
            )
            raise RefusedError(message)
    for part, (start, end) in zip(parts, pairwise(starts), strict=True):
        yield part.place, {name: outputs[name][start:end] for name in part.wanted}


def _joined(parts: list[_Part]) -> Arrays:
    if len(parts) == 1:
        return parts[0].feeds
    return {
        name: np.concatenate([part.feeds[name] for part in parts])
        for name in parts[0].feeds
    }


def _wanted(parts: list[_Part]) -> list[str]:
    return list(dict.fromkeys(name for part in parts for name in part.wanted))


def _check_batch_sizes(feeds: Arrays) -> None:
    sizes = {name: array.shape[0] for name, array in feeds.items()}
    if len(set(sizes.values())) > 1:
        raise RefusedError(f"inputs have different batch sizes: {sizes}")


def _batch_size(part: _Part) -> int:
    return next(iter(part.feeds.values())).shape[0]
