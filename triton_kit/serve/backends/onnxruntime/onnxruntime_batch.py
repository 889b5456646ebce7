"""Requests joined into as few runs of a graph as their shapes allow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from onnxruntime_graph import Graph
from onnxruntime_tensors import RefusedError, bfloat16_value, words_of

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class _Part:
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
        missing = [name for name in self._graph.inputs if name not in feeds]
        if missing:
            raise RefusedError(f"input {missing[0]!r} is missing")
        if self._batched:
            sizes = {name: array.shape[0] for name, array in feeds.items()}
            if len(set(sizes.values())) > 1:
                raise RefusedError(f"inputs have different batch sizes: {sizes}")
            key = tuple(sorted((n, a.shape[1:]) for n, a in feeds.items()))
        else:
            feeds = {name: self._unscaled(name, a) for name, a in feeds.items()}
            key = place
        self._groups.setdefault(key, []).append(_Part(place, feeds, wanted))

    def run(self) -> Iterator[tuple[int, Arrays | RefusedError]]:
        """Yield the place and the answer of every request taken."""
        for parts in self._groups.values():
            yield from self._answers(parts)

    def _unscaled(self, name: str, array: np.ndarray) -> np.ndarray:
        """Take off the axis of size 1 that a config gives to a tensor without axes."""
        tensor = self._graph.feeds[name]
        return array.reshape(()) if not tensor.shape and array.size == 1 else array

    def _answers(
        self, parts: list[_Part]
    ) -> Iterator[tuple[int, Arrays | RefusedError]]:
        try:
            outputs = self._run(_joined(parts), _wanted(parts))
            answers = self._split(parts, outputs) if self._batched else [outputs]
        except RefusedError as error:
            if len(parts) == 1:
                yield parts[0].place, error
                return
            for part in parts:
                yield from self._answers([part])
            return
        for part, answer in zip(parts, answers, strict=True):
            yield part.place, {name: answer[name] for name in part.wanted}

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

    def _split(self, parts: list[_Part], outputs: Arrays) -> list[Arrays]:
        sizes = [_batch_size(part) for part in parts]
        for name, value in outputs.items():
            if value.shape[:1] != (sum(sizes),):
                message = (
                    f"output {name!r} has shape {list(value.shape)}: its first axis "
                    f"is not the batch of {sum(sizes)}; max_batch_size must be 0"
                )
                raise RefusedError(message)
        ends = np.cumsum(sizes)
        starts = ends - sizes
        return [
            {name: value[start:end] for name, value in outputs.items()}
            for start, end in zip(starts, ends, strict=True)
        ]


def _joined(parts: list[_Part]) -> Arrays:
    if len(parts) == 1:
        return parts[0].feeds
    return {
        name: np.concatenate([part.feeds[name] for part in parts])
        for name in parts[0].feeds
    }


def _wanted(parts: list[_Part]) -> list[str]:
    return list(dict.fromkeys(name for part in parts for name in part.wanted))


def _batch_size(part: _Part) -> int:
    return next(iter(part.feeds.values())).shape[0]
