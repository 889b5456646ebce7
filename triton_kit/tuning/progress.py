"""What a search does now: phases from the start of the server to the confirmation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from triton_kit.tuning.spec import TuneSpec

PhaseName = Literal[
    "server", "convert", "default", "spread", "climb", "final", "confirm"
]


@dataclass(frozen=True, slots=True)
class TunePhase:
    """A part of a search, and what it does there in words."""

    name: PhaseName
    text: str


OnPhase = Callable[[TunePhase], None]

# By the stage of an ask.
_STAGES = {
    "default": TunePhase("default", "measuring the default"),
    "sample": TunePhase("spread", "measuring points spread over the space"),
    "halving": TunePhase("spread", "measuring the best of them again"),
    "climb": TunePhase("climb", "climbing from the best point"),
    "final": TunePhase("final", "last rounds: the best points and the default in turn"),
    "confirm": TunePhase("confirm", "confirming the gain: the best and the default"),
}


class PhaseWatch:
    """Tells `on_phase` of each phase as it begins; None: nothing is told."""

    def __init__(self, on_phase: OnPhase | None) -> None:
        self._on_phase = on_phase
        self._phase: TunePhase | None = None

    def starting(self, spec: TuneSpec) -> None:
        """Tell that the server is started or asked."""
        text = "starting the server"
        if spec.url is not None:
            text = f"asking the server at {spec.url}"
        elif spec.container is not None:
            text = "starting the server in a container"
        elif spec.at_once is not None:
            text = "starting the servers of the trials"
        self._begin(TunePhase("server", text))

    def stage(self, stage: str) -> None:
        """Tell the stage of the next trial, if it is another one."""
        phase = _STAGES[stage]
        if phase != self._phase:
            self._begin(phase)

    def converting(self, what: str) -> None:
        """Tell what is converted for a trial; "": it is done, and the trial goes on."""
        if what:
            self._tell(TunePhase("convert", f"converting {what}"))
        elif self._phase is not None:
            self._tell(self._phase)

    def _begin(self, phase: TunePhase) -> None:
        self._phase = phase
        self._tell(phase)

    def _tell(self, phase: TunePhase) -> None:
        if self._on_phase is not None:
            self._on_phase(phase)
