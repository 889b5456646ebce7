"""A project becomes a model repository: joins project, convert and repository."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tritonclient.grpc.model_config_pb2 import ModelConfig

from triton_kit.convert.pipeline import convert
from triton_kit.convert.spec import (
    Calibration,
    ConvertResult,
    ConvertSpec,
    Gate,
    ShapeRange,
)
from triton_kit.errors import ConvertError, SpecError
from triton_kit.project.conversion import VerifySpec
from triton_kit.project.fields import config_fields
from triton_kit.project.spec import (
    EMBEDDED,
    ModelSpec,
    PipelineSpec,
    Project,
    TargetSpec,
    TensorSpec,
)
from triton_kit.repository.batch_axis import check_batch_axis
from triton_kit.repository.config import model_config
from triton_kit.repository.layout import ARTIFACT_NAMES
from triton_kit.repository.manifest import sha256, write_manifest
from triton_kit.repository.pipeline import Step, ensemble_config
from triton_kit.repository.publish import Draft, Published, publish
from triton_kit.repository.render import render
from triton_kit.repository.warmup import GENERATED, Warmup, add_warmup
from triton_kit.tensors import DYNAMIC, Tensor, data_type

REPOSITORY_NAME = "model_repository"
PLANS = ".triton-kit/plans"
_BACKENDS = {"onnx": "onnxruntime", "plan": "tensorrt"}
# ModelConfig's optimization.graph.level for ONNX Runtime's; without it: all.
_GRAPH_LEVELS = {"extended": 1, "basic": -1, "off": 2}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """The repository that was built, and what became of each model.

    `notes` are by model: sentences on what was done otherwise than asked.
    """

    repository: Path
    models: tuple[Published, ...]
    notes: dict[str, tuple[str, ...]]


def build(
    project: Project,
    *,
    output: Path | None = None,
    cache: Path | None = None,
    on_progress: Progress = lambda _: None,
) -> BuildResult:
    """Build every model and pipeline of a project into a repository.

    Nothing is published before all of it is built; a model that is already there with
    the same content keeps its version. `cache` is a folder of finished conversions, by
    content, that projects and machines may share.

    Raises:
        TritonKitError: a model cannot be built; the repository is as it was.
    """
    repository = output or project.path(REPOSITORY_NAME)
    with tempfile.TemporaryDirectory(prefix="triton-kit-") as scratch:
        models = []
        for name, spec in project.spec.models.items():
            on_progress(f"building {name} from {spec.source}")
            models.append(_build_model(project, name, spec, Path(scratch), cache))
        pipelines = _build_pipelines(project, [model.config for model in models])
        on_progress(f"publishing to {repository}")
        built = [*models, *pipelines]
        published = publish(repository, [_draft(model) for model in built])
    notes = {model.config.name: model.notes for model in built if model.notes}
    return BuildResult(repository=repository, models=tuple(published), notes=notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Built:
    """A model that is ready to publish: its config, its file, what to say of it."""

    config: ModelConfig
    artifact: Path | None
    facts: dict[str, Any]  # JSON for the manifest
    files: dict[str, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def _build_model(
    project: Project, name: str, spec: ModelSpec, scratch: Path, cache: Path | None
) -> _Built:
    source = project.path(spec.source)
    if source.suffix == ".py":
        if not source.is_file():
            raise _no_source(name, source)
        built = _build_python(name, spec, source)
    else:
        built = _build_converted(project, name, spec, scratch, cache)
    return replace(built, files=_add_warmup(project, spec, built.config))


def _add_warmup(
    project: Project, spec: ModelSpec, config: ModelConfig
) -> dict[str, bytes]:
    batch = 1 if config.max_batch_size else 0
    sizes = {n: t.opt[batch:] for n, t in spec.inputs.items() if t.opt is not None}
    files: dict[str, bytes] = {}
    for request in spec.warmup:
        is_file = request.data not in GENERATED
        warmup = Warmup(
            name=request.name,
            source=project.path(request.data) if is_file else request.data,
            batch_size=request.batch_size or 1,
            count=request.count,
        )
        files |= add_warmup(config, warmup, sizes=sizes)
    return files


def _build_python(name: str, spec: ModelSpec, source: Path) -> _Built:
    fields = config_fields(spec)
    is_batched = fields["max_batch_size"] > 0
    config = model_config(
        name,
        backend="python",
        fields=fields,
        inputs=_declared(name, spec.inputs, is_batched=is_batched),
        outputs=_declared(name, spec.outputs, is_batched=is_batched),
    )
    try:
        compile(source.read_bytes(), str(source), "exec")
    except (SyntaxError, ValueError) as error:
        raise SpecError(f"model {name!r}: {source} is not Python: {error}") from error
    return _Built(
        config=config,
        artifact=source,
        facts={
            "model": name,
            "kind": "python",
            "source": {"file": source.name, "sha256": sha256(source)},
        },
    )


def _build_converted(
    project: Project, name: str, spec: ModelSpec, scratch: Path, cache: Path | None
) -> _Built:
    if declared := [n for n, t in (spec.inputs | spec.outputs).items() if t.dtype]:
        raise SpecError(
            f"model {name!r}: {declared[0]!r} declares a dtype, but its own file does",
            hint="dtype and shape are for Python models; give min, opt and max here",
        )
    target = project.spec.targets.get(project.target, TargetSpec())
    # Where TensorRT is absent the container's command reads its ONNX file from here.
    folder = project.path(PLANS) / name if target.format == "plan" else scratch / name
    folder.mkdir(parents=True, exist_ok=True)
    order = _convert_spec(project, name, spec, folder, cache)
    fields = config_fields(spec)
    _check_batch(name, fields, order)
    result = convert(order)
    _check_gpu(project, name, result)
    level = _GRAPH_LEVELS.get(result.accuracy.runtime_level or "")
    if order.format == "onnx" and level is not None:
        # Above this level ONNX Runtime crashes or gives wrong answers.
        fields.setdefault("optimization", {}).setdefault("graph", {"level": level})
    config = model_config(
        name,
        backend=_BACKENDS[order.format],
        fields=fields,
        inputs=result.inputs,
        outputs=result.outputs,
    )
    facts = _facts(name, order) | _conversion_facts(result)
    return _Built(
        config=config, artifact=result.artifact, facts=facts, notes=result.notes
    )


def _check_batch(name: str, fields: Mapping[str, Any], order: ConvertSpec) -> None:
    bounds = [
        {tensor: (r.min[0], r.max[0]) for tensor, r in profile.items() if r.min}
        for profile in order.profiles
    ]
    check_batch_axis(name, int(fields["max_batch_size"]), bounds)


def _check_gpu(project: Project, name: str, result: ConvertResult) -> None:
    """A plan runs on the kind of GPU that it was built on, and on no other."""
    target = project.spec.targets.get(project.target, TargetSpec())
    built_on = (result.manifest.get("engine") or {}).get("compute_capability")
    if target.compute_capability in (None, built_on) or built_on is None:
        return
    raise ConvertError(
        f"model {name!r}: its plan was built on a GPU of compute capability "
        f"{built_on}, target {project.target!r} has {target.compute_capability}",
        hint="build it on a machine with the target's GPU",
    )


def _convert_spec(
    project: Project, name: str, spec: ModelSpec, folder: Path, cache: Path | None
) -> ConvertSpec:
    target = project.spec.targets.get(project.target, TargetSpec())
    verify = spec.verify or VerifySpec()
    calibration = spec.calibration
    return ConvertSpec(
        source=_source(project, name, spec),
        output=folder / f"model.{target.format}",
        root=project.root,
        profiles=_profiles(spec),
        format=target.format,
        precision=spec.precision,
        rest=spec.rest,
        symmetric=spec.symmetric,
        calibration=Calibration(
            data=project.path(calibration.data),
            method=calibration.method,
            percentile=calibration.percentile,
        )
        if calibration
        else None,
        verify_data=project.path(verify.data) if verify.data else None,
        gate=Gate(**verify.model_dump(exclude={"data"})),
        ranges=spec.ranges,
        keep_fp32=spec.keep_fp32,
        bisect=spec.bisect,
        passes=spec.passes,
        simplify=spec.simplify,
        sparsity=spec.sparsity,
        opset=spec.opset,
        # They are the builder's: the same model may also be built as ONNX.
        options=_options(spec) if target.format == "plan" else {},
        release=None if target.triton == EMBEDDED else target.triton,
        cache=cache,
    )


def _conversion_facts(result: ConvertResult) -> dict[str, Any]:
    """Return what the repository's manifest says of a conversion.

    Less than the converter's own: the same project gives the same bytes whatever else
    is installed.
    """
    facts: dict[str, Any] = {
        "nodes_before": result.nodes_before,
        "nodes_after": result.nodes_after,
        "max_abs_error": result.max_abs_error,
        "notes": result.notes,
    }
    if result.precision != "fp32" or result.format != "onnx":
        told = ("precision", "spec", "accuracy", "kept_fp32", "sparsity", "engine")
        facts |= {name: result.manifest[name] for name in told}
    tools = {name: result.manifest["tools"][name] for name in ("onnx", "onnxslim")}
    return {"conversion": facts, "tools": tools}


def _source(project: Project, name: str, spec: ModelSpec) -> Path | str:
    source = project.path(spec.source)
    if source.exists():
        return source
    if ":" in spec.source:
        return spec.source  # package.module:function
    raise _no_source(name, source)


def _no_source(name: str, source: Path) -> SpecError:
    return SpecError(
        f"model {name!r}: source {source} is not a file, found nothing",
        hint="paths in triton-kit.yaml start at its folder",
    )


def _profiles(spec: ModelSpec) -> tuple[dict[str, ShapeRange], ...]:
    first = {n: r for n, t in spec.inputs.items() if (r := _range(t))}
    more = [
        {n: ShapeRange(min=p.min, opt=p.opt, max=p.max) for n, p in profile.items()}
        for profile in spec.profiles
    ]
    return (first, *(first | profile for profile in more))


def _options(spec: ModelSpec) -> dict[str, str]:
    return {name: str(value).lower() for name, value in spec.builder.items()}


def _build_pipelines(project: Project, models: Sequence[ModelConfig]) -> list[_Built]:
    """Build every pipeline after the pipelines that are steps of it."""
    configs = {config.name: config for config in models}
    waiting = dict(project.spec.pipelines)
    built = []
    while waiting:
        ready = [
            name
            for name, spec in waiting.items()
            if not waiting.keys() & {step.model for step in spec.steps}
        ]
        if not ready:
            raise SpecError(f"pipelines are steps of each other: {', '.join(waiting)}")
        for name in ready:
            built.append(_build_pipeline(name, waiting.pop(name), configs))
            configs[name] = built[-1].config
    return built


def _build_pipeline(
    name: str, spec: PipelineSpec, configs: dict[str, ModelConfig]
) -> _Built:
    steps = [
        Step(model=step.model, inputs=step.inputs, outputs=step.outputs)
        for step in spec.steps
    ]
    config = ensemble_config(name, steps=steps, outputs=spec.outputs, configs=configs)
    return _Built(
        config=config, artifact=None, facts={"model": name, "kind": "pipeline"}
    )


def _draft(model: _Built) -> Draft:
    def write_version(folder: Path) -> None:
        if model.artifact:
            name = ARTIFACT_NAMES[model.config.backend]
            shutil.copyfile(model.artifact, folder / name)
        write_manifest(folder, model.facts)

    return Draft(
        name=model.config.name,
        config=render(model.config),
        write_version=write_version,
        files=model.files,
    )


def _declared(
    name: str, specs: Mapping[str, TensorSpec], *, is_batched: bool
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


def _range(spec: TensorSpec) -> ShapeRange | None:
    if spec.min is None or spec.opt is None or spec.max is None:
        return None
    return ShapeRange(min=spec.min, opt=spec.opt, max=spec.max)


def _facts(name: str, order: ConvertSpec) -> dict[str, Any]:
    source = order.source
    if isinstance(source, str):
        said = {"name": source}
    elif source.is_dir():
        said = {"folder": source.name}
    else:
        said = {"file": source.name, "sha256": sha256(source)}
    return {"model": name, "kind": order.format, "source": said}
