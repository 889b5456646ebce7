"""The models that a Python model calls are there, too."""

from __future__ import annotations

from collections.abc import Iterable

from triton_kit.errors import did_you_mean
from triton_kit.repository.check.rules.case import Case, Problems
from triton_kit.repository.check.rules.lint import warn
from triton_kit.triton.calls import CALLS_PARAMETER, called_models


def check_calls(case: Case, models: Iterable[str]) -> Problems:
    """K31: the server loads the model; its requests fail.

    Args:
        case: any model.
        models: the names of all models.
    """
    others = [name for name in models if name != case.folder.name]
    for name in called_models(case.config):
        if name not in others and name != case.folder.name:
            yield warn(
                "K31",
                f"it calls {name!r}, which is not in the repository",
                ("parameters", CALLS_PARAMETER),
                did_you_mean(name, others),
            )
