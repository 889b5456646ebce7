"""Missing TensorRT plans are built in the container of their release, on this machine.

A conversion without TensorRT ends with its verified ONNX files and the commands that
build their plans. They run here, and the conversion runs again with the plans.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from triton_kit.conversion.onnx.onnx_file import artifact_files
from triton_kit.conversion.results.manifest import sha256
from triton_kit.conversion.tensorrt.engine import installed_backend, tensorrt_version
from triton_kit.conversion.tensorrt.prebuilt import MissingPlan, MissingPlansError
from triton_kit.errors import ConvertError, ServerError, SpecError
from triton_kit.files import cache_folder, copy_new, make_cache
from triton_kit.gpu import compute_capabilities
from triton_kit.process import run_child
from triton_kit.serving.containers.engine import Engine, find_engine

_log = logging.getLogger(__name__)

T = TypeVar("T")
_BUILD_WITHIN_S = 4 * 3600.0
_SHOWN_LINES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanBuilder:
    """What builds plans: a container engine, and the first GPU of this machine.

    Attributes:
        engine: the engine.
        compute_capability: of the GPU, such as `9.0`.
        cache: the folder of built plans, by content.
    """

    engine: Engine
    compute_capability: str
    cache: Path


def find_plan_builder(name: str) -> PlanBuilder:
    """Return a builder that can work, before anything is converted for it.

    Args:
        name: of the engine: `docker` or `podman`.

    Raises:
        SpecError: TensorRT is installed here, which builds plans itself.
        ServerError: there is no engine, or no GPU.
    """
    if installed_backend("plan"):
        raise SpecError(
            f"--builder {name}: TensorRT {tensorrt_version()} is installed here, and "
            "builds the plans",
            hint="leave --builder out, or convert in an environment without TensorRT",
        )
    engine = find_engine(name)
    found = compute_capabilities()
    if not found:
        raise ServerError(
            f"--builder {name}: no GPU: nvidia-smi finds none on this machine",
            hint="a plan is built on the GPU that it is for: leave --builder out, and "
            "run the printed commands there",
        )
    cache = cache_folder() / "plans"
    make_cache(cache)
    return PlanBuilder(engine=engine, compute_capability=found[0], cache=cache)


def with_plans(
    convert: Callable[[], T],
    builder: PlanBuilder,
    on_progress: Callable[[str], None],
) -> T:
    """Convert; build the plans that are missing then, and convert again with them.

    Raises:
        TritonKitError: as `convert` does, or a plan cannot be built.
    """
    try:
        return convert()
    except MissingPlansError as missing:
        plans = missing.plans
    build_plans(plans, builder, on_progress)
    return convert()


def build_plans(
    plans: Sequence[MissingPlan],
    builder: PlanBuilder,
    on_progress: Callable[[str], None],
) -> None:
    """Build each plan, or take it from the cache.

    Raises:
        ServerError: an image is not here, or the engine cannot give the GPU.
        ConvertError: TensorRT does not build a plan.
    """
    gpu = f"GPU 0, compute capability {builder.compute_capability}"
    for plan in plans:
        image = builder.engine.require_image(plan.image)
        kept = builder.cache / f"{_key(plan, image['Id'], builder)}.plan"
        if not kept.is_file():
            on_progress(f"building {plan.output.name} in {plan.image} ({gpu})")
            _build(plan, builder, kept)
        else:
            on_progress(f"{plan.output.name}: found in the cache ({gpu})")
        _copy(kept, plan.plan)


def _key(plan: MissingPlan, image: str, builder: PlanBuilder) -> str:
    """Return what tells plans apart: graph, options, TensorRT and GPU."""
    words = [image, builder.compute_capability, *plan.words]
    words += [sha256(file) for file in artifact_files(plan.onnx)]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def _build(plan: MissingPlan, builder: PlanBuilder, kept: Path) -> None:
    name = f"triton-kit-plan-{secrets.token_hex(4)}"
    partial = plan.plan.with_name(f"{plan.plan.name}.partial")
    argv = [
        *(builder.engine.program, "run", "--rm", "--name", name, *_gpu(builder.engine)),
        *("--user", f"{os.geteuid()}:{os.getegid()}", "--network", "none"),
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        *("--env", "HOME=/tmp", "--volume", f"{plan.onnx.parent.resolve()}:/work"),
        *(plan.image, "trtexec", f"--saveEngine=/work/{partial.name}", *plan.words),
    ]
    _log.debug("%s", shlex.join(argv))
    try:
        done = run_child(argv, deadline_s=_BUILD_WITHIN_S)
        if done.exit_code != 0 or not partial.is_file():
            raise _failed(plan, f"{done.stdout}\n{done.stderr}", done.ending)
        _copy(partial, kept)
    finally:
        builder.engine.remove(name)
        partial.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    """Copy a plan to where it is looked for; a reader sees all of it, or nothing."""
    fresh = target.with_name(f"{target.name}.{secrets.token_hex(4)}")
    try:
        copy_new(source, fresh)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)


def _gpu(engine: Engine) -> tuple[str, str]:
    if engine.program == "podman":
        return ("--device", "nvidia.com/gpu=0")
    return ("--gpus", "device=0")


def _failed(plan: MissingPlan, text: str, ending: str) -> Exception:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if "could not select device driver" in text or "unresolvable CDI devices" in text:
        return ServerError(
            f"the engine cannot give a container GPU 0: {lines[0]}",
            hint="the engine needs nvidia-container-toolkit",
        )
    told = [line for line in lines if "[E]" in line] or lines[-_SHOWN_LINES:]
    reason = "\n".join(f"  {line}" for line in told[:_SHOWN_LINES])
    return ConvertError(
        f"{plan.output.name}: trtexec of {plan.image} did not build it ({ending})"
        + (f"\n{reason}" if reason else ""),
        hint=f"the ONNX file is {plan.onnx}; the command: {plan.command}",
    )
