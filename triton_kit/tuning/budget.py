"""How much a search may spend, in trials or in time."""

from __future__ import annotations

import re
from dataclasses import dataclass

from triton_kit.errors import SpecError

_TIME = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<unit>s|m|h)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_HINT = "for example 10m, 90s or trials=60"
# Two rounds of three finalists and the default, three that confirm the gain of one, and
# something to choose from.
FEWEST_TRIALS = 20
# What a trial takes until one has been measured.
USUAL_TRIAL_S = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A bound on trials or on time.

    Attributes:
        trials: measurements, or None.
        seconds: of all trials together, or None.
    """

    trials: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if (self.trials is None) == (self.seconds is None):
            raise SpecError("a budget is trials or time", hint=_HINT)
        if self.trials is not None and self.trials < FEWEST_TRIALS:
            raise SpecError(
                f"{self.trials} trials decide nothing",
                hint=f"trials={FEWEST_TRIALS} or more",
            )
        least_s = FEWEST_TRIALS * 1.0
        if self.seconds is not None and self.seconds < least_s:
            raise SpecError(
                f"{self.seconds:g} s decide nothing", hint=f"{least_s:g}s or more"
            )

    def left(self, trials: int, seconds: float, costs_s: float | None = None) -> int:
        """Return how many trials still fit, one after the other.

        Args:
            trials: how many there were.
            seconds: how long they took.
            costs_s: how long they took one by one; None: there was one at a time.
        """
        if self.trials is not None:
            return self.trials - trials
        costs_s = seconds if costs_s is None else costs_s
        mean_s = costs_s / trials if trials else USUAL_TRIAL_S
        return int(((self.seconds or 0.0) - seconds) / max(mean_s, 1e-3))


def parse_budget(text: str) -> Budget:
    """Read `10m`, `90s`, `1h` or `trials=60`.

    Raises:
        SpecError: it is none of them.
    """
    name, equals, number = text.strip().partition("=")
    if equals and name.strip() == "trials" and number.strip().isdigit():
        return Budget(trials=int(number))
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise SpecError(f"budget {text!r} cannot be read", hint=_HINT)
    return Budget(seconds=float(match["number"]) * _SECONDS[match["unit"]])
