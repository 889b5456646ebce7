"""A project is checked before any model of it is converted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from triton_kit.artifact import inspect_onnx
from triton_kit.build_as_is import build_as_is, is_as_is
from triton_kit.build_files import check_files, check_tensors
from triton_kit.built import check_shapes, declared_tensors, no_source, target_of
from triton_kit.errors import SpecError, TritonKitError, did_you_mean
from triton_kit.files import cache_folder
from triton_kit.locate import locate_error
from triton_kit.project.fields import config_fields
from triton_kit.project.spec import (
    EMBEDDED,
    ModelSpec,
    PipelineSpec,
    Project,
    is_function,
)
from triton_kit.repository.check.embedded import unsupported_features
from triton_kit.repository.generate.config import config_from_fields
from triton_kit.repository.generate.pipeline import NEWEST, Step, ensemble_config
from triton_kit.serving.onnxruntime_backend import choose_onnxruntime_backend
from triton_kit.triton.schema import ModelConfig


def check_project(project: Project) -> None:
    """Refuse what no conversion can mend: sources, configs, names in pipelines.

    It reads the heads of model files and takes milliseconds.

    Raises:
        SpecError: with the line of the project file.
    """
    configs: dict[str, ModelConfig | None] = {}
    for name, spec in project.spec.models.items():
        try:
            check_files(project, name, spec)
            names = configs[name] = _names_of(project, name, spec)
            if names is not None:
                check_tensors(project, spec, names)
        except SpecError as error:
            locate_error(project, error, "models", name)
            raise
    for name in pipeline_order(project):
        spec_of = project.spec.pipelines[name]
        try:
            configs[name] = _names_of_pipeline(name, spec_of, configs)
        except SpecError as error:
            locate_error(project, error, "pipelines", name)
            raise


def pipeline_order(project: Project) -> list[str]:
    """Return the pipelines, each after those that are steps of it.

    Raises:
        SpecError: pipelines are steps of each other.
    """
    waiting = dict(project.spec.pipelines)
    order: list[str] = []
    while waiting:
        ready = [
            name
            for name, spec in waiting.items()
            if not waiting.keys() & {step.model for step in spec.steps}
        ]
        if not ready:
            error = SpecError(
                f"pipelines are steps of each other: {', '.join(waiting)}"
            )
            locate_error(project, error, "pipelines")
            raise error
        for name in ready:
            order.append(name)
            del waiting[name]
    return order


def pipeline_steps(spec: PipelineSpec) -> list[Step]:
    """Return the steps of a pipeline as the repository's generator takes them."""
    return [
        Step(
            model=step.model,
            inputs=step.inputs,
            outputs=step.outputs,
            version=step.version or NEWEST,
        )
        for step in spec.steps
    ]


def _names_of(project: Project, name: str, spec: ModelSpec) -> ModelConfig | None:
    """Return a config with the names of a model's tensors; None if they are unknown."""
    config = config_from_fields(name, config_fields(spec))
    config.backend = config.backend or spec.backend or "onnxruntime"
    source = project.source(spec)
    is_file = source.exists()
    if not is_file and not is_function(spec.source):
        raise no_source(project, name, spec)
    is_python = spec.backend in (None, "python") and is_as_is(project, spec)
    if spec.calls and not is_python:
        raise SpecError(
            f"model {name!r}: calls are for Python models, which can ask other models",
            hint="remove calls, or wire the models as a pipeline",
        )
    if is_python:
        config.backend = "python"
        build_as_is(project, name, spec)  # it parses the files
    _require_target(project, name, config)
    known: dict[str, list[str]] | None
    if is_as_is(project, spec):
        known = {
            kind: [tensor.name for tensor in declared_tensors(name, given)]
            for kind, given in (("input", spec.inputs), ("output", spec.outputs))
        }
    elif source.suffix == ".onnx" and is_file:
        check_shapes(name, spec)
        known = _onnx_names(name, spec, source, config)
    else:
        return None
    names = _with_names(name, spec, config, known or {})
    return names if names.input and names.output else None


def _with_names(
    name: str,
    spec: ModelSpec,
    config: ModelConfig,
    known: Mapping[str, Sequence[str]],
) -> ModelConfig:
    names = ModelConfig(name=name)
    for kind, tensors in known.items():
        written = {entry.name: entry for entry in getattr(config, kind)}
        given = getattr(spec, f"{kind}s")
        for tensor in written or tensors:
            entry = getattr(names, kind).add(name=tensor)
            if kind == "input":
                is_optional = tensor in given and given[tensor].optional
                entry.optional = is_optional or written.get(tensor, entry).optional
            elif tensor in written:
                entry.label_filename = written[tensor].label_filename
    return names


def _onnx_names(
    name: str, spec: ModelSpec, source: Path, config: ModelConfig
) -> dict[str, list[str]] | None:
    try:
        model = inspect_onnx(source)
    except TritonKitError:
        return None  # the conversion reports it
    known = [tensor.name for tensor in model.inputs]
    for tensor in spec.inputs:
        if tensor not in known:
            raise SpecError(
                f"model {name!r}: it has no input {tensor!r}",
                hint=did_you_mean(tensor, known),
            )
    batching = config.sequence_batching
    filled_in = {control.name for control in batching.control_input}
    filled_in |= {state.input_name for state in batching.state}
    states = {state.output_name for state in batching.state}
    return {
        "input": [t.name for t in model.inputs if t.name not in filled_in],
        "output": [t.name for t in model.outputs if t.name not in states],
    }


def _require_target(project: Project, name: str, config: ModelConfig) -> None:
    """Refuse a feature that the embedded server lacks here, before any conversion.

    Its native onnxruntime backend has all of them; without a C compiler the one in
    Python serves.
    """
    features = [feature for _, feature in unsupported_features(config)]
    if target_of(project).triton != EMBEDDED or not features:
        return
    backend = choose_onnxruntime_backend("auto", cache=cache_folder())
    if backend.kind == "python":
        raise SpecError(
            f"model {name!r}: the embedded server has no {features[0]} here: its "
            f"onnxruntime backend is {backend}",
            hint="install a C compiler (apt-get install gcc libc6-dev), or build for a "
            'container: targets: {gpu: {triton: "26.06"}}; triton-kit build -t gpu',
        )


def _names_of_pipeline(
    name: str, spec: PipelineSpec, configs: dict[str, ModelConfig | None]
) -> ModelConfig | None:
    used = {
        step.model: configs[step.model] for step in spec.steps if step.model in configs
    }
    if any(config is None for config in used.values()):
        return None
    known = {one: config for one, config in configs.items() if config is not None}
    config_from_fields(name, spec.config)
    return ensemble_config(
        name, steps=pipeline_steps(spec), outputs=spec.outputs, configs=known
    )
