"""Sequences of requests, for models that keep state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from triton_kit.cli.perf.group import COUNT, option
from triton_kit.errors import SpecError

if TYPE_CHECKING:
    from triton_kit.loadtest.loops.sequences import Sequences

OPTIONS = (
    option(
        "--sequence-length",
        type=COUNT,
        metavar="N",
        help="Requests per sequence, on average. Default: those of a stream of the "
        "data, else 20.",
    ),
    option(
        "--sequence-length-variation",
        type=click.FloatRange(0, 100),
        default=20.0,
        metavar="PERCENT",
        help="Sequence lengths are drawn from within this share of the average.",
    ),
    option(
        "--start-sequence-id",
        type=COUNT,
        metavar="ID",
        help="First sequence id.  [default: 1]",
    ),
    option(
        "--sequence-id-range",
        metavar="START:END",
        help="Sequence ids from START up to, not including, END.",
    ),
    option(
        "--num-of-sequences",
        type=COUNT,
        default=4,
        metavar="N",
        help="Concurrent sequences in request-rate mode; otherwise the concurrency.",
    ),
    option(
        "--serial-sequences",
        is_flag=True,
        help="Accepted for perf_analyzer; a sequence always has one request in flight.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceOptions:
    """Lengths and ids of sequences."""

    sequence_length: int | None
    sequence_length_variation: float
    start_sequence_id: int | None
    sequence_id_range: str | None
    num_of_sequences: int

    def sequences(self, seed: int) -> Sequences | None:
        """Return the sequences; None where no option is given: the model decides.

        Raises:
            SpecError: options contradict each other, or a range cannot be read.
        """
        from triton_kit.loadtest.loops.sequences import MOST_ID, Sequences

        id_range, first_id = self.sequence_id_range, self.start_sequence_id
        if id_range is not None and first_id is not None:
            raise SpecError(
                f"--sequence-id-range {id_range} and --start-sequence-id {first_id} "
                "both set the first id",
                hint="leave --start-sequence-id out",
            )
        last_id = MOST_ID
        if id_range is not None:
            first_id, last_id = _id_range(id_range, MOST_ID)
        sequences = Sequences(
            length=self.sequence_length,
            variation=self.sequence_length_variation / 100,
            first_id=1 if first_id is None else first_id,
            last_id=last_id,
            at_a_time=self.num_of_sequences,
            seed=seed,
        )
        return None if sequences == Sequences(seed=seed) else sequences


def _id_range(text: str, most: int) -> tuple[int, int]:
    """Read `START:END`, whose end is excluded as in perf_analyzer, or `START`."""
    try:
        start, *end = (int(part) for part in text.split(":"))
    except ValueError:
        start, end = 0, [0, 0]
    if len(end) > 1 or (end and end[0] <= start):
        raise SpecError(
            f"sequence id range {text!r}: not of the form START:END, START < END",
            hint="for example 1000:2000; END itself is not an id",
        )
    return start, end[0] - 1 if end else most
