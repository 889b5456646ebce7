"""What is tuned: a model or a pipeline, and the configuration of each part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.triton.json_fields import Fields
from triton_kit.tuning.model_fields import LOAD_FIELDS, Config, with_settings
from triton_kit.tuning.space import Settings, Value

_SEPARATOR = ":"


class ConfigSource(Protocol):
    """Tells the configuration of a model."""

    def config(self, name: str, version: str = "") -> Fields:
        """Return a model's configuration as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A model and everything that it calls.

    Attributes:
        model: what requests name.
        configs: by name, of the model and of its steps, at any depth.
    """

    model: str
    configs: Mapping[str, Config]

    @property
    def is_pipeline(self) -> bool:
        """Whether it has parts, whose fields have the part's name in front."""
        return len(self.configs) > 1

    @property
    def parts(self) -> tuple[str, ...]:
        """The models that run, without the ensembles that only wire them."""
        return tuple(
            name for name, config in self.configs.items() if not is_ensemble(config)
        )

    def split(self, field: str) -> tuple[str, str]:
        """Return the model and the field within it that a name means.

        Raises:
            SpecError: there is no such model.
        """
        name, separator, inner = field.partition(_SEPARATOR)
        if not separator:
            if self.is_pipeline and field not in LOAD_FIELDS:
                raise SpecError(
                    f"field {field!r}: {self.model!r} has several models",
                    hint=f"name one: {self.parts[0]}{_SEPARATOR}{field}",
                )
            return self.model, field
        if name not in self.configs:
            raise SpecError(
                f"field {field!r}: {self.model!r} has no model {name!r}",
                hint=did_you_mean(name, self.configs),
            )
        return name, inner

    def named(self, model: str, field: str) -> str:
        """Return the name of a model's field in the space."""
        return f"{model}{_SEPARATOR}{field}" if self.is_pipeline else field

    def by_model(self, settings: Settings) -> dict[str, dict[str, Value]]:
        """Return the settings of each model; those of the load are left out."""
        found: dict[str, dict[str, Value]] = {}
        for name, value in settings.items():
            if name not in LOAD_FIELDS:
                model, field = self.split(name)
                found.setdefault(model, {})[field] = value
        return found

    def configured(self, settings: Settings) -> dict[str, Config]:
        """Return the configuration of every model with these settings.

        Raises:
            SpecError: a field does not exist, or its value is of another type.
        """
        return dict(self.configs) | {
            model: with_settings(model, self.configs[model], fields)
            for model, fields in self.by_model(settings).items()
        }


def fetch_subject(
    control: ConfigSource, model: str, composing: Sequence[str] = ()
) -> Subject:
    """Ask a server for the configuration of a model and of everything it calls.

    Args:
        control: the server.
        model: what requests name.
        composing: models that it calls by itself (BLS), which no config names.

    Raises:
        ServerError: it has no such model, or the model is not ready.
    """
    configs: dict[str, Config] = {}
    waiting = [model, *composing]
    while waiting:
        name = waiting.pop(0)
        if name in configs:
            continue
        configs[name] = control.config(name).as_json
        scheduling = configs[name].get("ensemble_scheduling") or {}
        waiting += [step["model_name"] for step in scheduling.get("step", [])]
    return Subject(model=model, configs=configs)


def is_ensemble(config: Config) -> bool:
    """Whether a configuration only wires other models."""
    return config.get("platform") == "ensemble" or "ensemble_scheduling" in config
