"""Requests that belong together: sequences of a stateful model, one per slot."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from triton_kit.errors import SpecError
from triton_kit.loadtest.request import Parameter, Request

# Ids are unsigned 64-bit numbers, and 0 is none.
MOST_ID = 2**64 - 1
_DEFAULT_LENGTH = 20  # perf_analyzer's

# Requests by whether they start and whether they end a sequence, then by input.
Encoded = dict[tuple[bool, bool], list[Request]]

# Gives the request at a place in the data, with these parameters.
RequestAt = Callable[[int, dict[str, Parameter]], Request]


@dataclass(slots=True)
class SlotRequests:
    """The requests of one slot, endlessly.

    Attributes:
        requests: to be taken one by one.
        ending: what ends the sequence of the request taken last; None where that was
            its end.
    """

    requests: Iterator[Request]
    ending: Request | None = None


class Stretch(NamedTuple):
    """The data of one sequence: `length` requests that repeat `places`."""

    length: int
    places: range
    begin: int = 0

    def place(self, index: int) -> int:
        """Return which data the request at `index` has."""
        return self.places[(self.begin + index) % len(self.places)]


# Gives the requests of one slot.
SequenceSource = Callable[[int], SlotRequests]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """Lengths and ids of sequences.

    Attributes:
        length: requests of a sequence, on average; None is as many as its stream has,
            and 20 where the data has no streams.
        variation: lengths are drawn evenly from within this share of `length`.
        first_id: the ids of the slots count from here; each slot keeps its own.
        last_id: of those that may be used.
        seed: of the lengths.
        at_a_time: how many an open loop keeps; in a closed one the concurrency says it.
    """

    length: int | None = None
    variation: float = 0.2
    first_id: int = 1
    last_id: int = MOST_ID
    seed: int = 0
    at_a_time: int = 4  # perf_analyzer's

    def __post_init__(self) -> None:
        for what, value in (
            ("sequence length", self.length),
            ("first sequence id", self.first_id),
            ("number of sequences", self.at_a_time),
        ):
            if value is not None and value < 1:
                raise SpecError(f"{what} {value}: need 1 or more")
        if not self.first_id <= self.last_id <= MOST_ID:
            raise SpecError(
                f"sequence ids {self.first_id} to {self.last_id}: need 1 to {MOST_ID}"
            )
        if not 0 <= self.variation <= 1:
            raise SpecError(
                f"sequence length variation {self.variation:.0%}: need 0 to 100 %"
            )

    def check_room(self, at_a_time: int) -> None:
        """Compare the number of ids with that of concurrent sequences.

        Raises:
            SpecError: they are too few.
        """
        ids = self.last_id - self.first_id + 1
        if at_a_time > ids:
            raise SpecError(
                f"{at_a_time} sequences at a time need as many ids, and there are "
                f"{ids} from {self.first_id} on"
            )

    def lengths(self, slot: int) -> Iterator[int]:
        """Yield the lengths of one slot's sequences, endlessly."""
        generator = np.random.default_rng((self.seed, slot))
        length = self.length or _DEFAULT_LENGTH
        spread = int(length * self.variation)
        low, high = max(length - spread, 1), length + spread
        while True:
            yield int(generator.integers(low, high + 1))


class RequestOrder:
    """Where each slot of a loop takes its requests from.

    All take the next of `requests`, or each has a `sequence_source` of its own. An
    iterator goes on where it is; a sequence begins again with each load.
    """

    def __init__(
        self,
        requests: Sequence[Request] | Iterator[Request],
        sequence_source: SequenceSource | None,
    ) -> None:
        self._requests = requests
        self._source = sequence_source
        self._shared: Iterator[Request] = iter(())
        self._begun: dict[int, SlotRequests] = {}

    @property
    def has_sequences(self) -> bool:
        """Whether each slot has requests of its own."""
        return self._source is not None

    def restart(self) -> None:
        """Give out requests from the first one on."""
        requests = self._requests
        self._shared = (
            requests if isinstance(requests, Iterator) else itertools.cycle(requests)
        )

    def requests_of(self, slot: int) -> Iterator[Request]:
        """Return the requests of a slot, without end."""
        if self._source is None:
            return self._shared
        slot_requests = self._begun[slot] = self._source(slot)
        return slot_requests.requests

    def take_ending(self, slot: int) -> Request | None:
        """Return the request that ends the open sequence of a slot; only once."""
        slot_requests = self._begun.pop(slot, None)
        return slot_requests.ending if slot_requests is not None else None


def make_sequence_source(
    sequences: Sequences,
    distinct: int,
    request_at: RequestAt,
    streams: Sequence[range] = (),
) -> SequenceSource:
    """Return the source of each slot's requests: sequences in turn, under one id.

    An id is free again once its sequence has ended, and a slot has one sequence at a
    time, so an id per slot is enough; and every request can be encoded beforehand.
    A slot that is asked for anew gets its sequences from the first one on.

    Args:
        sequences: lengths and ids.
        distinct: how many different inputs there are.
        request_at: encodes a request; called once for every one that can occur.
        streams: the places of the data that belong together. A sequence takes one of
            them from its beginning, the next sequence the next one; without streams
            the sequences of a slot walk on through all data.
    """

    @cache
    def encoded(slot: int) -> Encoded:
        return {
            (start, end): [
                request_at(place, _flags(sequences.first_id + slot, start, end))
                for place in range(distinct)
            ]
            for start, end in itertools.product((False, True), repeat=2)
        }

    def sequence_source(slot: int) -> SlotRequests:
        if streams:
            stretches = _stream_by_stream(sequences, streams, slot)
        else:
            stretches = _walk_on(sequences.lengths(slot), range(distinct))
        slot_requests = SlotRequests(iter(()))
        slot_requests.requests = _walk(slot_requests, stretches, encoded(slot))
        return slot_requests

    return sequence_source


def _stream_by_stream(
    sequences: Sequences, streams: Sequence[range], slot: int
) -> Iterator[Stretch]:
    lengths = sequences.lengths(slot)
    for number in itertools.count(slot):
        places = streams[number % len(streams)]
        yield Stretch(next(lengths) if sequences.length else len(places), places)


def _walk_on(lengths: Iterator[int], places: range) -> Iterator[Stretch]:
    begin = 0
    for length in lengths:
        yield Stretch(length, places, begin)
        begin += length


def _walk(
    slot_requests: SlotRequests, stretches: Iterator[Stretch], encoded: Encoded
) -> Iterator[Request]:
    ending = encoded[False, True]
    for stretch in stretches:
        for index in range(stretch.length):
            is_last = index == stretch.length - 1
            kinds = encoded[index == 0, is_last]
            slot_requests.ending = None if is_last else ending[stretch.place(index + 1)]
            yield kinds[stretch.place(index)]


def _flags(number: int, start: bool, end: bool) -> dict[str, Parameter]:
    return {"sequence_id": number, "sequence_start": start, "sequence_end": end}
