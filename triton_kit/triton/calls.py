"""The models that a Python model says it calls (business logic scripting).

Triton's config has no field for them: a parameter names them, joined by commas.
"""

from __future__ import annotations

from typing import Any  # protobuf ships no types

CALLS_PARAMETER = "triton_kit.calls"


def called_models(config: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Return the models that the ModelConfig of a model names."""
    if CALLS_PARAMETER not in config.parameters:  # reading one would add it
        return ()
    return names_of_calls(config.parameters[CALLS_PARAMETER].string_value)


def names_of_calls(value: str) -> tuple[str, ...]:
    """Return the names in the value of the parameter."""
    return tuple(name.strip() for name in value.split(",") if name.strip())
