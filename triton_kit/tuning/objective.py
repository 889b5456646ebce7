"""What a tuned model is to be good at: one figure, or several with weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from triton_kit.errors import SpecError, did_you_mean

# Figure -> whether more of it is better, and its unit.
FIGURES = {
    "throughput": (True, "infer/s"),
    "mean": (False, "us"),
    "p50": (False, "us"),
    "p90": (False, "us"),
    "p95": (False, "us"),
    "p99": (False, "us"),
    "efficiency": (True, "infer per CPU second"),
    "joules": (False, "J per inference"),
    "memory": (False, "bytes"),
}
_OTHER_NAMES = {"latency": "p95"}
_NEEDS = {
    "efficiency": "the server's process on this machine",
    "memory": "the server's process on this machine",
    "joules": "a GPU, and the server's metrics (nv_energy_consumption)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneObjective:
    """Figures and the weight of each; a single figure has the weight 1.

    Attributes:
        text: as it was written.
        weights: figure -> weight, above 0.
    """

    text: str
    weights: Mapping[str, float]

    @property
    def only(self) -> str | None:
        """The figure, where it is a single one."""
        return next(iter(self.weights)) if len(self.weights) == 1 else None

    def value(self, figures: Mapping[str, float]) -> float:
        """Return one number of which more is better: a product of powers.

        A change of it by a share is the same change of a single figure; of several, the
        weighted sum of the changes' logarithms.

        Raises:
            SpecError: a figure is not known of this server.
        """
        total = 0.0
        for figure, weight in self.weights.items():
            found = figures.get(figure, 0.0)
            if found <= 0:
                raise SpecError(
                    f"objective {self.text!r}: the server's {figure} is not known",
                    hint=f"it needs {_NEEDS[figure]}" if figure in _NEEDS else None,
                )
            more_is_better, _ = FIGURES[figure]
            total += weight * math.log(found) * (1 if more_is_better else -1)
        return math.exp(total)


def parse_objective(text: str) -> TuneObjective:
    """Read `throughput`, `latency`, `p99`, or weights: `throughput=0.7,p95=0.3`.

    Raises:
        SpecError: there is no such figure, or a weight is none.
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = part.partition("=")
        name = _OTHER_NAMES.get(name.strip(), name.strip())
        if name not in FIGURES:
            hint = did_you_mean(name, [*FIGURES, *_OTHER_NAMES])
            raise SpecError(f"objective {text!r}: no figure {name!r}", hint=hint)
        try:
            weight = float(number) if equals else 1.0
        except ValueError:
            weight = 0.0
        if not 0 < weight < math.inf or name in weights:
            raise SpecError(
                f"objective {text!r} cannot be read",
                hint="for example throughput, p99, or throughput=0.7,p95=0.3",
            )
        weights[name] = weight
    total = sum(weights.values())
    return TuneObjective(
        text=text, weights={name: weight / total for name, weight in weights.items()}
    )
