"""One model of a project is converted, configured and made ready to publish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from triton_kit.built import (
    Built,
    check_shapes,
    declared_tensors,
    max_batch_size,
    no_source,
    shape_profiles,
    target_of,
)
from triton_kit.conversion.onnx.onnx_file import artifact_files
from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.spec import ConvertResult, ConvertSpec
from triton_kit.conversion.tensorrt.plan_script import write_plan_script
from triton_kit.conversion.tensorrt.prebuilt import (
    STATED,
    MissingPlansError,
    is_prebuilt,
)
from triton_kit.conversion.tensorrt.prebuilt import MissingPlan as MissingPlan
from triton_kit.errors import ConvertError
from triton_kit.options.setting import nested
from triton_kit.project.conversion import ConversionSpec, conversion_settings
from triton_kit.project.fields import config_fields
from triton_kit.project.spec import (
    EMBEDDED,
    ModelSpec,
    Project,
    is_function,
)
from triton_kit.repository.check.incomplete import MISSING
from triton_kit.repository.generate.config import model_config
from triton_kit.repository.publish.layout import ARTIFACT_NAMES
from triton_kit.repository.publish.manifest import sha256

PLANS = ".triton-kit/plans"
_BACKENDS = {"onnx": "onnxruntime", "plan": "tensorrt"}
# ModelConfig's optimization.graph.level for ONNX Runtime's; without it: all.
_GRAPH_LEVELS = {"extended": 1, "basic": -1, "off": 2}


def build_model(
    project: Project, name: str, spec: ModelSpec, scratch: Path, cache: Path | None
) -> tuple[Built, MissingPlan | None]:
    """Make one model ready to publish; its files are in `scratch`, or the project.

    Returns:
        The model, and its plan, if a machine with TensorRT and a GPU has to build that:
        the model is ready but for it.

    Raises:
        SpecError: the model's source is not what its settings say.
        ConvertError: its source cannot be read, or its plan cannot be built.
        VerifyError: its artifact's outputs differ from its source's.
    """
    source = project.source(spec)
    if is_prebuilt(source):
        return _build_prebuilt(project, name, spec, scratch), None
    return _build_converted(project, name, spec, scratch, cache)


def missing_plans(project: Project, plans: Sequence[MissingPlan]) -> MissingPlansError:
    """Return the error for plans that a GPU must build; write the script that does."""
    write_plan_script(plans, project.path(PLANS))
    return MissingPlansError(plans)


def _build_prebuilt(
    project: Project, name: str, spec: ModelSpec, scratch: Path
) -> Built:
    """Import a prebuilt plan: no setting of the conversion applies to it."""
    options = conversion_settings(spec, project.root).get("options", {})
    order = ConvertSpec(
        source=project.source(spec),
        output=scratch / name / ARTIFACT_NAMES["tensorrt"],
        format=target_of(project).format,
        options={n: v for n, v in options.items() if n == STATED},
        release=_release(project),
    )
    result = convert(order)
    _check_gpu(project, name, result)
    fields = config_fields(spec)
    is_batched = max_batch_size(name, fields) > 0
    is_declared = any(t.dtype for t in (spec.inputs | spec.outputs).values())
    config = model_config(
        name,
        backend=_BACKENDS[order.format],
        fields=fields,
        # Where they are not declared, Triton's backend reads them from the plan.
        inputs=declared_tensors(name, spec.inputs, is_batched=is_batched)
        if is_declared
        else result.inputs,
        outputs=declared_tensors(name, spec.outputs, is_batched=is_batched)
        if is_declared
        else result.outputs,
    )
    asked = spec.model_fields_set & ConversionSpec.model_fields.keys()
    given = sorted(asked - ({"builder"} if options.keys() <= {STATED} else set()))
    ignored = f"{', '.join(given)}: not applied, its source is a prebuilt plan"
    return Built(
        config=config,
        version_files=_version_files(result),
        facts=_facts(name, order) | _conversion_facts(result),
        notes=(*result.notes, *([ignored] if given else [])),
    )


def _build_converted(
    project: Project, name: str, spec: ModelSpec, scratch: Path, cache: Path | None
) -> tuple[Built, MissingPlan | None]:
    check_shapes(name, spec)
    target = target_of(project)
    # Where TensorRT is absent the container's command reads its ONNX file from here.
    folder = project.path(PLANS) / name if target.format == "plan" else scratch / name
    folder.mkdir(parents=True, exist_ok=True)
    fields = config_fields(spec)
    order = convert_spec(project, name, spec, folder, cache)
    if target.format == "plan" and (batch := max_batch_size(name, fields)):
        order = replace(order, max_batch_size=batch)
    missing = None
    try:
        result = convert(order)
    except MissingPlansError as error:
        if error.result is None:
            raise
        result, (missing,) = error.result, error.plans
    _check_gpu(project, name, result)
    level = _GRAPH_LEVELS.get(result.accuracy.runtime_level or "")
    if order.format == "onnx" and level is not None:
        # Above this level ONNX Runtime crashes or computes wrong outputs.
        fields.setdefault("optimization", {}).setdefault("graph", {"level": level})
    if order.custom_ops:
        paths = [f"/models/{name}/{path.name}" for path in order.custom_ops]
        fields.setdefault("model_operations", {"op_library_filename": paths})
    config = model_config(
        name,
        backend=_BACKENDS[order.format],
        fields=fields,
        inputs=result.inputs,
        outputs=result.outputs,
    )
    facts = _facts(name, order) | _conversion_facts(result)
    if missing:
        facts[MISSING] = [ARTIFACT_NAMES[_BACKENDS[order.format]]]
    built = Built(
        config=config,
        version_files={} if missing else _version_files(result),
        facts=facts,
        files={path.name: path for path in order.custom_ops},
        notes=result.notes,
    )
    return built, missing


def _version_files(result: ConvertResult) -> dict[str, Path]:
    # Weights beside the graph keep their name: the graph says it.
    artifact, *weights = artifact_files(result.artifact)
    name = ARTIFACT_NAMES[_BACKENDS[result.format]]
    return {name: artifact} | {path.name: path for path in weights}


def _release(project: Project) -> str | None:
    triton = target_of(project).triton
    return None if triton == EMBEDDED else triton


def _check_gpu(project: Project, name: str, result: ConvertResult) -> None:
    """A plan runs on the kind of GPU that it was built on, and on no other."""
    target = target_of(project)
    built_on = (result.manifest.get("engine") or {}).get("compute_capability")
    if target.compute_capability in (None, built_on) or built_on is None:
        return
    raise ConvertError(
        f"model {name!r}: its plan was built on a GPU of compute capability "
        f"{built_on}, target {project.target!r} has {target.compute_capability}",
        hint="build it on a machine with the target's GPU",
    )


def _is_on_gpu(spec: ModelSpec) -> bool:
    groups = config_fields(spec).get("instance_group", ())
    return any(group.get("kind") == "KIND_GPU" for group in groups)


def convert_spec(
    project: Project, name: str, spec: ModelSpec, folder: Path, cache: Path | None
) -> ConvertSpec:
    """Return the conversion that a model of a project asks for.

    Raises:
        SpecError: its settings contradict each other, or it has no source.
    """
    target = target_of(project)
    settings = conversion_settings(spec, project.root)
    if target.format != "plan":
        # They are of one runtime: the same model may be built for the other, too.
        settings.pop("options", None)
    else:
        settings.pop("custom_ops", None)
    return ConvertSpec(
        source=_source(project, name, spec),
        output=folder / f"model.{target.format}",
        root=project.root,
        **nested(
            ConvertSpec,
            settings
            | {
                "profiles": shape_profiles(spec),
                "format": target.format,
                "release": _release(project),
                "device": "gpu" if _is_on_gpu(spec) else "cpu",
                "cache": cache,
            },
        ),
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
        kept = ("precision", "spec", "accuracy", "kept_fp32", "sparsity", "engine")
        facts |= {name: result.manifest[name] for name in kept}
    known = result.manifest["tools"]
    tools = {name: known[name] for name in ("onnx", "onnxslim") if name in known}
    return {"conversion": facts, "tools": tools}


def _source(project: Project, name: str, spec: ModelSpec) -> Path | str:
    source = project.source(spec)
    if source.exists():
        return source
    if is_function(spec.source):
        return spec.source  # package.module:function
    raise no_source(project, name, spec)


def _facts(name: str, order: ConvertSpec) -> dict[str, Any]:
    source = order.source
    if isinstance(source, str):
        origin = {"name": source}
    elif source.is_dir():
        origin = {"folder": source.name}
    else:
        origin = {"file": source.name, "sha256": sha256(source)}
    return {"model": name, "kind": order.format, "source": origin}
