"""How a model becomes an artifact: precision, samples, profiles, builder options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict

from triton_kit.options.conversion import ConversionSettings
from triton_kit.options.setting import settings_of
from triton_kit.options.yaml_fields import values_in, yaml_model
from triton_kit.project.serving import Positive, Spec

_SETTINGS = settings_of(ConversionSettings)


class _Finite(Spec):
    """NaN and infinity are no settings."""

    model_config = ConfigDict(allow_inf_nan=False)


if TYPE_CHECKING:
    _Declared = _Finite
else:
    _Declared = yaml_model("_Declared", _SETTINGS, base=_Finite)


class ProfileSpec(Spec):
    """The shapes of one input in one more optimisation profile, batch axis included."""

    min: tuple[Positive, ...]
    opt: tuple[Positive, ...]
    max: tuple[Positive, ...]


class ConversionSpec(_Declared):
    """The part of a model that the converter reads: every setting that has a key."""

    profiles: tuple[dict[str, ProfileSpec], ...] = ()  # besides the one of `inputs`


def conversion_settings(spec: ConversionSpec, root: Path) -> dict[str, Any]:
    """Return the settings of a model by dotted name; files are named from `root`."""
    return values_in(_SETTINGS, spec, root)
