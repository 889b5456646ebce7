"""Models of a project in other precisions, or from other builder options, to be tried.

Each is converted once, behind the accuracy gate, and becomes one more version in a
repository of the search's own: a trial loads it through its version policy.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any  # YAML

from triton_kit.build_as_is import is_as_is
from triton_kit.build_model import build_model, convert_spec
from triton_kit.built import target_of
from triton_kit.conversion.tensorrt.builder_options import parse_options
from triton_kit.conversion.tensorrt.engine import checked_options
from triton_kit.conversion.tensorrt.prebuilt import is_prebuilt
from triton_kit.errors import (
    ConvertError,
    SpecError,
    TritonKitError,
    VerifyError,
    did_you_mean,
)
from triton_kit.files import default_cache
from triton_kit.options.conversion import AUTO, PRECISIONS
from triton_kit.project.conversion import conversion_settings
from triton_kit.project.spec import ModelSpec, Project
from triton_kit.tuning.model_fields import (
    BUILDER,
    PRECISION,
    Config,
    is_conversion,
)
from triton_kit.tuning.space import SpaceField, Value

Fields = Mapping[str, Value]
# Above any version that a repository has.
_FIRST_VERSION = 1_000_000_000


class RefusedVariantError(ConvertError):
    """A model cannot be converted with some settings, or not as accurately as asked.

    Attributes:
        model: which one.
        settings: those of its conversion.
    """

    def __init__(self, error: TritonKitError, model: str, settings: Fields) -> None:
        super().__init__(error.message, hint=error.hint)
        self.model, self.settings = model, settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One converted model.

    Attributes:
        version: its folder in the repository of the search.
        files: of the version, by name.
        facts: what its manifest says of the conversion.
        graph: ModelConfig's `optimization.graph` that it needs; empty: none.
        snr_db: of its worst output; None where nothing differs.
        seconds: how long the conversion took.
    """

    version: int
    files: Mapping[str, Path]
    facts: Mapping[str, Any]
    graph: Config
    snr_db: float | None
    seconds: float

    def configured(self, config: Config, *, keeps_graph: bool) -> Config:
        """Return a configuration that serves this variant alone."""
        changed = {
            **config,
            "version_policy": {"specific": {"versions": [str(self.version)]}},
        }
        if keeps_graph:
            return changed
        others = dict(config.get("optimization", {}))
        others.pop("graph", None)
        if self.graph:
            others["graph"] = self.graph
        return changed | {"optimization": others}


@dataclass(slots=True, kw_only=True)
class Variants:
    """The variants of a project's models, in a repository that a server serves.

    Attributes:
        project: where the models come from.
        repository: a copy that gets a version for each variant.
        scratch: for what is converted.
        floors: what the accuracy gate asks beside the project's own, by key.
        on_convert: called with what is converted, and with "" once it is done.
    """

    project: Project
    repository: Path
    scratch: Path
    floors: Mapping[str, float] = field(default_factory=dict)
    on_convert: Callable[[str], None] = lambda _: None
    _made: dict[str, Variant | RefusedVariantError] = field(default_factory=dict)

    def space_field(
        self, model: str, inner: str, full: str, values: tuple[Value, ...]
    ) -> SpaceField:
        """Return a field of the space that needs conversions.

        Raises:
            SpecError: the model is not converted, or there are no such values.
        """
        spec = self.project.spec.models.get(model)
        if spec is None or is_as_is(self.project, spec):
            raise SpecError(
                f"field {full!r}: the project does not convert {model!r}",
                hint="precision and builder options are for models it converts",
            )
        if is_prebuilt(self.project.source(spec)):
            raise SpecError(f"field {full!r}: the source of {model!r} is a plan")
        if inner == PRECISION:
            _require_precisions(full, values)
            return SpaceField(name=full, values=values, default=self._precision(spec))
        self._require_options(full, inner, values)
        own = spec.model_dump(exclude_unset=True).get("builder", {})
        default = own.get(inner.removeprefix(BUILDER))
        return SpaceField(name=full, values=values, default=default)

    def _require_options(
        self, full: str, inner: str, values: tuple[Value, ...]
    ) -> None:
        target = target_of(self.project)
        if target.format == "onnx":
            raise SpecError(
                f"field {full!r}: builder options are TensorRT's, target "
                f"{self.project.target!r} is onnx",
                hint="choose a target with format: plan (--target)",
            )
        name = inner.removeprefix(BUILDER)
        for value in values:
            parse_options({} if value is None else {name: _option(value)})

    def _precision(self, spec: ModelSpec) -> str:
        settings = conversion_settings(spec, self.project.root)
        return str(settings.get(PRECISION, PRECISIONS[0]))

    def why_illegal(self, by_model: Mapping[str, Fields]) -> str:
        """Return why models cannot be converted like this, as far as it is known."""
        for model, fields in by_model.items():
            changed = self._changed(model, fields)
            if changed is None:
                continue
            try:
                order = convert_spec(
                    self.project, model, changed, self.scratch / model, None
                )
                if order.format != "onnx":
                    checked_options(order)
            except SpecError as error:
                return error.message
        return ""

    def make(self, model: str, fields: Fields) -> Variant | None:
        """Convert a model, once; None if it is in the repository as it is.

        Raises:
            RefusedVariantError: it cannot be converted, or misses the accuracy gate.
        """
        changed = self._changed(model, fields)
        if changed is None:
            return None
        conversion = {n: v for n, v in sorted(fields.items()) if is_conversion(n)}
        key = f"{model}: {conversion}"
        if key not in self._made:
            version = _FIRST_VERSION + len(self._made)
            settings = ", ".join(
                f"{name}={value}" for name, value in conversion.items()
            )
            self.on_convert(f"{model}: {settings}")
            try:
                self._made[key] = self._convert(model, changed, version)
            except (ConvertError, VerifyError, SpecError) as error:
                self._made[key] = RefusedVariantError(error, model, conversion)
            self.on_convert("")
        found = self._made[key]
        if isinstance(found, RefusedVariantError):
            raise found
        return found

    def make_all(self, by_model: Mapping[str, Fields]) -> dict[str, Variant]:
        """Return the variants of models that are not as the repository has them.

        Raises:
            RefusedVariantError: as `make`.
        """
        made = {model: self.make(model, fields) for model, fields in by_model.items()}
        return {model: variant for model, variant in made.items() if variant}

    def _convert(self, model: str, spec: ModelSpec, version: int) -> Variant:
        began_s = time.monotonic()
        folder = self.scratch / str(version)
        built, missing = build_model(self.project, model, spec, folder, default_cache())
        if missing is not None:
            raise ConvertError(
                f"model {model!r}: its plan is built on a machine with TensorRT",
                hint="pip install 'triton_kit[tensorrt]' on a machine with the GPU",
            )
        target = self.repository / model / str(version)
        target.mkdir()
        target.chmod(0o755)  # a container's user reads it
        for name, path in built.version_files.items():
            shutil.copyfile(path, target / name)
            (target / name).chmod(0o644)
        graph = built.config.optimization.graph
        facts = built.facts["conversion"]
        return Variant(
            version=version,
            files={name: target / name for name in built.version_files},
            facts=built.facts,
            graph={"level": graph.level} if graph.level else {},
            snr_db=_snr_db(facts),
            seconds=time.monotonic() - began_s,
        )

    def _changed(self, model: str, fields: Fields) -> ModelSpec | None:
        """Return the model's spec with these settings; None: it has them already."""
        conversion = {n: v for n, v in fields.items() if is_conversion(n)}
        spec = self.project.spec.models.get(model)
        if spec is None or not conversion:
            return None
        own = spec.model_dump(exclude_unset=True)
        changed = own | conversion_keys(own, conversion)
        precision = self._precision(spec)
        is_same = changed.get("precision", precision) == precision and (
            changed.get("builder", {}) == own.get("builder", {})
        )
        if is_same:
            return None
        verify = {**own.get("verify", {}), **self.floors}
        return ModelSpec.model_validate(
            changed | ({"verify": verify} if verify else {})
        )


def conversion_keys(own: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    """Return the keys of triton-kit.yaml that settings of a conversion change.

    Args:
        own: the model in triton-kit.yaml.
        fields: the settings; others than those of a conversion have no effect.
    """
    keys: dict[str, Any] = {}
    if PRECISION in fields:
        keys["precision"] = fields[PRECISION]
    options = {
        name.removeprefix(BUILDER): value
        for name, value in fields.items()
        if name.startswith(BUILDER)
    }
    if options:
        merged = {**own.get("builder", {}), **options}
        keys["builder"] = {n: v for n, v in merged.items() if v is not None}
    return keys


def copy_models(repository: Path, target: Path) -> None:
    """Copy a repository, by hard links where the disk has them."""
    shutil.copytree(repository, target, copy_function=_link_or_copy)
    target.chmod(0o755)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _require_precisions(full: str, values: tuple[Value, ...]) -> None:
    for value in values:
        if value not in (*PRECISIONS, AUTO):
            raise SpecError(
                f"field {full!r}: no precision {value!r}",
                hint=did_you_mean(str(value), (*PRECISIONS, AUTO)),
            )


def _option(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _snr_db(facts: Mapping[str, Any]) -> float | None:
    """Return the SNR of the worst output; None where nothing differs, or of fp32."""
    outputs = facts.get("accuracy", {}).get("outputs", [])
    known = [o["snr_db"] for o in outputs if o.get("snr_db") is not None]
    return min(known, default=None)
