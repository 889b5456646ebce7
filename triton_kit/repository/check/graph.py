"""The tensors of an ensemble as a graph: who writes, who reads, what is ever ready."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from triton_kit.repository.config.places import Step
from triton_kit.triton.schema import Message


@dataclass(frozen=True, slots=True)
class EnsembleGraph:
    """What flows where.

    Attributes:
        tensors: the names in all maps of all steps.
        waits_for: tensor -> the tensors that its step reads.
        feeds: tensor -> the tensors that the steps which read it write.
        ready: the tensors that are written once the ensemble's inputs are there.
        places: tensor -> the field that names it first.
    """

    tensors: frozenset[str]
    waits_for: dict[str, tuple[str, ...]]
    feeds: dict[str, tuple[str, ...]]
    ready: frozenset[str]
    places: dict[str, tuple[Step, ...]]

    def is_written(self, name: str) -> bool:
        """Whether any step writes a tensor."""
        return bool(self.waits_for[name])

    def place_of(self, name: str) -> tuple[Step, ...]:
        """Return the field that names a tensor first."""
        return self.places[name]

    def missing_source(self, name: str) -> str:
        """Follow what a tensor waits for back to where nothing comes from."""
        seen: set[str] = set()
        last, waiting = name, self.waits_for[name]
        while True:
            unready = [n for n in waiting if n not in self.ready and n not in seen]
            if not unready:
                return last
            last = unready[0]
            seen.add(last)
            waiting = self.waits_for[last]


def ensemble_graph(config: Message) -> EnsembleGraph:
    """Build the graph of an ensemble whose steps are complete."""
    waits_for: dict[str, list[str]] = {}
    feeds: dict[str, list[str]] = {}
    places: dict[str, tuple[Step, ...]] = {}
    for number, step in enumerate(config.ensemble_scheduling.step):
        read = sorted(step.input_map.items())
        written = sorted(step.output_map.items())
        for field, pairs in (("input_map", read), ("output_map", written)):
            for key, tensor in pairs:
                at = ("ensemble_scheduling", "step", number, field, key)
                places.setdefault(tensor, at)
                waits_for.setdefault(tensor, [])
                feeds.setdefault(tensor, [])
        for _, output in written:
            for _, source in read:
                waits_for[output].append(source)
                feeds[source].append(output)
    return EnsembleGraph(
        tensors=frozenset(places),
        waits_for={name: tuple(names) for name, names in waits_for.items()},
        feeds={name: tuple(names) for name, names in feeds.items()},
        ready=_ready(config, waits_for, feeds),
        places=places,
    )


def _ready(
    config: Message, waits_for: dict[str, list[str]], feeds: dict[str, list[str]]
) -> frozenset[str]:
    ready = {tensor.name for tensor in config.input if tensor.name in feeds}
    queue = deque(ready)
    while queue:
        for name in feeds[queue.popleft()]:
            if name not in ready and all(n in ready for n in waits_for[name]):
                ready.add(name)
                queue.append(name)
    return frozenset(ready)
