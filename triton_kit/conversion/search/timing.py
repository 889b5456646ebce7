"""How fast candidates run, on this machine and side by side."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from triton_kit.conversion.search.attempt import Attempt
from triton_kit.conversion.search.work import Work
from triton_kit.conversion.shapes import points_of
from triton_kit.conversion.spec import TriedPrecision
from triton_kit.conversion.workers.child import call_worker, conversion_failed
from triton_kit.conversion.workers.models import FeedFiles
from triton_kit.options.conversion import QUANTIZED
from triton_kit.options.shapes import Profile

ROUNDS = 15
BUDGET_S = 10.0  # rounds end after that, at least one is run
AS_FAST = 1.1  # medians this close are one speed: then the smaller file is cheaper
# Share of the rounds in which a quantized candidate has to be the faster one: chance
# alone makes it so in 12 of 15 once in 57 cases.
_FASTER_ROUNDS = 0.75


def timed(
    work: Work, passed: Sequence[Attempt], rows: Sequence[TriedPrecision], *, gpu: bool
) -> list[TriedPrecision]:
    """Return the rows of attempts that passed, with their time of one inference.

    It is the mean over the opt shapes of all profiles. Quantized ones that are not
    measurably faster than the fastest of the others have the reason not to take them.

    Raises:
        ConvertError: a candidate that ran before does not run now.
    """
    feeds = work.reference.feeds
    response = call_worker(
        "workers.timing_worker",
        {
            "models": [str(one.path) for one in passed],
            "levels": [one.accuracy.runtime_level or "all" for one in passed],
            "feeds": [str(path) for path in opt_feeds(feeds, work.profiles)],
            "names": feeds.names,
            "rounds": ROUNDS,
            "budget_s": BUDGET_S,
            "on_gpu": gpu,
        },
        timeout_s=work.spec.timeout_s,
        failed=conversion_failed("timing the candidates failed"),
        preloaded=True,
    )
    return with_times(rows, response["seconds"])


def with_times(
    rows: Sequence[TriedPrecision], seconds: Sequence[Sequence[float]]
) -> list[TriedPrecision]:
    """Return rows with their median and quartiles, from the seconds of every round.

    A quantized network answers less exactly: it is taken only where it is faster in
    three of four rounds than the fastest of the others, round by round.
    """
    done = [
        replace(row, seconds=statistics.median(found), spread_s=_spread(found))
        for row, found in zip(rows, seconds, strict=True)
    ]
    others = [i for i, row in enumerate(done) if row.precision not in QUANTIZED]
    if not others:
        return done
    best = min(others, key=lambda index: done[index].seconds or 0.0)
    why_not = f"not measurably faster than {done[best].precision}"
    return [
        replace(row, why_not=why_not)
        if row.precision in QUANTIZED and not _is_faster(found, seconds[best])
        else row
        for row, found in zip(done, seconds, strict=True)
    ]


def _is_faster(seconds: Sequence[float], others: Sequence[float]) -> bool:
    """Say whether one was faster than the other in enough of the same rounds."""
    won = sum(a < b for a, b in zip(seconds, others, strict=True))
    return won >= _FASTER_ROUNDS * len(seconds)


def opt_feeds(feeds: FeedFiles, profiles: Sequence[Profile]) -> list[Path]:
    """Return the verification inputs that have the opt shapes of a profile."""
    opts = [{name: r.opt for name, r in profile.items()} for profile in profiles]
    labels = [label for label, shapes in points_of(profiles).items() if shapes in opts]
    return [feeds.paths[feeds.labels.index(label)] for label in labels]


def _spread(seconds: Sequence[float]) -> tuple[float, float]:
    """Return the first and the third quartile."""
    if len(seconds) < 2:
        return (seconds[0], seconds[0])
    low, _, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return (low, high)


def cheapest(rows: Sequence[TriedPrecision]) -> int:
    """Return the index of the fastest row; of rows as fast, that of the smallest.

    Rows with a reason not to take them are left out.
    """
    left = [index for index, row in enumerate(rows) if row.why_not is None]
    fastest = min(rows[index].seconds or 0.0 for index in left)
    return min(
        (i for i in left if (rows[i].seconds or 0.0) <= AS_FAST * fastest),
        key=lambda index: rows[index].bytes or 0,
    )
