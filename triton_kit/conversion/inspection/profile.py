"""Where the time of a model goes, node by node: ONNX Runtime, and TensorRT beside it.

A profile is for finding what is slow. Its clock is the runtime's own, and switching it
on costs time: compare artifacts under load, with `triton-kit perf`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from triton_kit.artifact import inspect_onnx, inspect_plan
from triton_kit.conversion.shapes import check_profiles, full_profiles
from triton_kit.conversion.workers.child import call_worker, hint, reason
from triton_kit.conversion.workers.models import LEVELS
from triton_kit.errors import ConvertError, SpecError
from triton_kit.options.shapes import Profile, parse_shapes
from triton_kit.process import Finished
from triton_kit.tensors import DYNAMIC, Shape

Facts = dict[str, Any]  # JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSpec:
    """How a model is run for its profile.

    Attributes:
        shapes: by input, batch axis included; `opt` of each counts.
        batch: of inputs without shape: the first axis, where it varies; None: 2.
        runs: how many are measured.
        warm_up: how many come before and are not.
        timeout_s: maximum seconds for one child process.
    """

    shapes: Profile = field(default_factory=dict)
    batch: int | None = None
    runs: int = 20
    warm_up: int = 5
    timeout_s: float = 300.0

    def __post_init__(self) -> None:
        for name, least in (("runs", 1), ("warm_up", 0), ("batch", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise SpecError(f"{name} is {value}, needs {least} or more")


def profile_spec(
    shapes: Iterable[str], *, batch: int | None, runs: int, warm_up: int
) -> ProfileSpec:
    """Make the spec that `triton-kit inspect --profile`'s options ask for.

    Raises:
        SpecError: an option's text cannot be read, or a number is out of range.
    """
    profiles = parse_shapes(shapes)
    if len(profiles) > 1:
        raise SpecError("an input has more than one shape, a profile runs one")
    chosen = profiles[0] if profiles else {}
    return ProfileSpec(shapes=chosen, batch=batch, runs=runs, warm_up=warm_up)


def profile_onnx(path: Path, spec: ProfileSpec) -> Facts:
    """Run an ONNX file in ONNX Runtime and, where there is a GPU, in TensorRT.

    Where the runtime crashes at its highest optimisation level, the next is taken.

    Raises:
        SpecError: shapes that do not fit.
        ConvertError: it does not run.
    """
    shapes = _shapes(path, spec)
    request: Facts = {"what": "onnx", "file": str(path.resolve()), "shapes": shapes}
    request |= {"runs": spec.runs, "warm_up": spec.warm_up}
    for level in LEVELS:
        try:
            found = _profiled(path, request | {"level": level}, spec)
            break
        except _CrashError:
            if level == LEVELS[-1]:
                raise
    asked = {"level": level, "shapes": shapes, "warm_up": spec.warm_up}
    return found | asked | {"tensorrt": _in_tensorrt(path, request, spec)}


class _CrashError(ConvertError):
    """The runtime ended its process."""


def _profiled(path: Path, request: Facts, spec: ProfileSpec) -> Facts:
    def failed(done: Finished) -> ConvertError:
        is_crash = done.exit_code is not None and done.exit_code < 0
        error = _CrashError if is_crash else ConvertError
        return error(f"{path}: cannot be profiled: {reason(done)}", hint=hint(done))

    found: Facts = call_worker(
        "inspection.profile_worker", request, timeout_s=spec.timeout_s, failed=failed
    )
    return found


def _shapes(path: Path, spec: ProfileSpec) -> Mapping[str, Shape]:
    inputs = inspect_onnx(path).inputs
    check_profiles((spec.shapes,), inputs, path)
    shapes = {n: r.opt for n, r in full_profiles((spec.shapes,), inputs)[0].items()}
    for tensor in inputs:
        varies = tensor.shape and tensor.shape[0] == DYNAMIC
        if spec.batch is not None and varies and tensor.name not in spec.shapes:
            shapes[tensor.name] = (spec.batch, *shapes[tensor.name][1:])
    return shapes


def _in_tensorrt(path: Path, request: Facts, spec: ProfileSpec) -> Facts:
    """Return TensorRT's times of the same graph, or why there are none.

    `skipped`: it cannot run here. `failed`: it can, and did not.
    """
    if reason := _obstacle("tensorrt"):
        return {"skipped": reason}
    wanted = request | {"what": "tensorrt", "backend": "tensorrt"}
    try:
        return _profiled(path, wanted, spec)
    except ConvertError as error:
        return {"failed": error.message}


def _obstacle(module: str) -> str | None:
    if find_spec(module) is None:
        return f"{module} is not installed"
    return None if _has_gpu() else "there is no GPU"


def _has_gpu() -> bool:
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    return (
        cuda.cuInit(0) == 0
        and cuda.cuDeviceGetCount(ctypes.byref(count)) == 0
        and count.value > 0
    )


def profile_engine(path: Path, spec: ProfileSpec) -> Facts:
    """Run a plan or an RTX engine on its GPU and time its layers.

    Raises:
        SpecError: there is nothing here that could run it; says what is missing.
        ConvertError: it does not run.
    """
    kind = inspect_plan(path).kind
    if reason := _obstacle("tensorrt_rtx" if kind == "tensorrt-rtx" else "tensorrt"):
        raise SpecError(
            f"{path}: cannot be profiled here: {reason}",
            hint="run this on the machine with its GPU; an ONNX file can be profiled "
            "anywhere",
        )
    request = {
        "what": "engine",
        "backend": "rtx" if kind == "tensorrt-rtx" else "tensorrt",
        "file": str(path.resolve()),
        "shapes": {name: r.opt for name, r in spec.shapes.items()},
        "runs": spec.runs,
        "warm_up": spec.warm_up,
    }
    return _profiled(path, request, spec) | {"warm_up": spec.warm_up}


def profile_lines(facts: Facts, *, shown: int = 20) -> list[str]:
    """Return a profile for a terminal: the slowest nodes, and what they add up to."""
    shapes = ", ".join(
        f"{n} {'x'.join(map(str, s))}" for n, s in facts["shapes"].items()
    )
    level = f", level {facts['level']}" if "level" in facts else ""
    lines = [
        f"  profile: {facts['runtime']}{level}, {shapes}; {facts['runs']} runs after "
        f"{facts['warm_up']}",
        f"  {facts['run_us']:,.0f} us a run, {_memory(facts)}",
        "   median us  share  calls  op",
    ]
    for node in facts["nodes"][:shown]:
        on = node["provider"].removesuffix("ExecutionProvider")
        lines.append(
            f"  {node['median_us']:10.1f}  {node['share']:5.1%}  {node['calls']:5}  "
            f"{node['op']:20} {node['name']} ({on})"
        )
    if (more := len(facts["nodes"]) - shown) > 0:
        lines.append(f"  and {more} more (--json)")
    return lines + _beside(facts)


def _memory(facts: Facts) -> str:
    text = f"peak memory {facts['peak_memory_bytes'] / 2**20:.1f} MiB"
    if "model_memory_bytes" in facts:
        own = facts["model_memory_bytes"] / 2**20
        text += f", {own:.1f} of them for the model"
    return text


def _beside(facts: Facts) -> list[str]:
    other = facts.get("tensorrt")
    if other is None:
        return []
    for end in ("skipped", "failed"):
        if end in other:
            return [f"  TensorRT: {end}, {other[end]}"]
    ratio = facts["run_us"] / other["run_us"]
    return [
        f"  TensorRT takes 1/{ratio:.2f} of that:",
        *profile_lines(other | {"warm_up": facts["warm_up"]}),
    ]
