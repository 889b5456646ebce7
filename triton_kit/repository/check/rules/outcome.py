"""What became of a model that an ensemble may have as a step."""

from __future__ import annotations

from dataclasses import dataclass

from triton_kit.repository.check.rules.case import Case, Problem


@dataclass(slots=True)
class Outcome:
    """What became of a model that an ensemble may have as a step.

    Attributes:
        case: the model; None if its config could not be read or was refused early.
        reason: why it is not there; None if it loads.
        is_valid: False for an ensemble that does not fit its steps.
        is_decoupled: whether it may send several responses; an ensemble may, too.
        knows_tensors: whether its inputs and outputs are known without its backend.
    """

    case: Case | None = None
    reason: Problem | None = None
    is_valid: bool = True
    is_decoupled: bool = False
    knows_tensors: bool = True
