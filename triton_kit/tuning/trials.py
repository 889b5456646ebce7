"""What measures the settings of a search: one after the other, or several at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol  # Any: JSON

from triton_kit.loadtest.run.measure import environment
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.tuning.server import KitServer, TunedServer
from triton_kit.tuning.space import Settings
from triton_kit.tuning.spec import TuneSpec
from triton_kit.tuning.subject import Subject
from triton_kit.tuning.trial import TrialRunner, TuneTrial
from triton_kit.tuning.variants import Variants


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Settings to measure.

    Attributes:
        settings: of all models, and the load.
        effort: as in `evidence.Ask`.
        afresh: whether a server of the kit is started anew before.
    """

    settings: Settings
    effort: float
    afresh: bool = False


# Called with the index of each trial as it ends.
OnEnd = Callable[[int, TuneTrial], None]


class Trials(Protocol):
    """Measures settings."""

    @property
    def subject(self) -> Subject:
        """What is tuned, with its own configurations."""

    @property
    def at_once(self) -> int:
        """How many trials run at the same time."""

    @property
    def environment(self) -> Mapping[str, Any]:
        """The machine of the last rounds, as in results of `perf`."""

    def measure(
        self, wanted: Sequence[Wanted], on_end: OnEnd, *, alone: bool = False
    ) -> None:
        """Run trials; a server that dies, or refuses the settings, makes one fail.

        Args:
            wanted: what to measure.
            on_end: called as each trial ends, in any order.
            alone: whether nothing else may run beside them, now and later.

        Raises:
            SpecError: the model cannot be measured at all: no input data fits it.
            ServerError: the server is gone for good.
        """


class TrialsInTurn:
    """Runs one trial after the other, on one server."""

    at_once = 1

    def __init__(
        self, spec: TuneSpec, server: TunedServer, variants: Variants | None
    ) -> None:
        self._runner = make_runner(server, base_spec(spec), spec, variants)
        self.subject = server.subject

    @property
    def environment(self) -> Mapping[str, Any]:
        """This machine."""
        return environment()

    def measure(
        self,
        wanted: Sequence[Wanted],
        on_end: OnEnd,
        *,
        alone: bool = False,  # noqa: ARG002  they always are
    ) -> None:
        """Run trials."""
        for index, each in enumerate(wanted):
            on_end(
                index, self._runner.run(each.settings, each.effort, afresh=each.afresh)
            )


def make_runner(
    server: TunedServer,
    base: PerfSpec,
    spec: TuneSpec,
    variants: Variants | None = None,
) -> TrialRunner:
    """Return what runs the trials of a search on a server."""
    if "joules" in spec.objective.weights and isinstance(server, KitServer):
        server.metrics_url = server.metrics_address
    return TrialRunner(server, base, spec.objective, spec.slo, variants)


def base_spec(spec: TuneSpec) -> PerfSpec:
    """Return what every trial measures; address and load are those of a trial."""
    return PerfSpec(
        url=spec.url or "localhost",
        model=spec.model,
        protocol=spec.protocol,
        shapes=spec.shapes,
        input_data=spec.input_data,
        headers=spec.headers,
        composing=spec.composing,
        slo=spec.slo,
        seed=spec.seed,
    )
