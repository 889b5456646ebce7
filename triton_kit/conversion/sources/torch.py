"""A torch module becomes an ONNX file, and answers for itself, in a child process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from onnx import ModelProto

from triton_kit.artifact import inspect_onnx
from triton_kit.conversion.onnx.onnx_file import load_onnx, save_onnx
from triton_kit.conversion.spec import ConvertSpec, Profile
from triton_kit.conversion.workers.child import call_worker, ending
from triton_kit.conversion.workers.models import FeedFiles
from triton_kit.conversion.workers.samples import Feed, read_feed
from triton_kit.errors import ConvertError, MissingExtraError, VerifyError

DEFAULT_OPSET = 18


def onnx_from_torch(spec: ConvertSpec, scratch: Path) -> Path:
    """Export a torch module with named axes that vary as the profiles say.

    Raises:
        ConvertError: torch does not export it.
        MissingExtraError: torch is not installed.
    """
    if find_spec("torch") is None or find_spec("onnxscript") is None:
        raise MissingExtraError("torch, with onnxscript", extra="torch")
    path = scratch / "exported.onnx"
    order = {
        "what": "export",
        "source": str(spec.source),
        "root": str(spec.root) if spec.root else None,
        "onnx": str(path),
        "shapes": {n: list(r.opt) for n, r in _first(spec.profiles).items()},
        "varying": varying_axes(spec.profiles),
        "opset": spec.opset or DEFAULT_OPSET,
    }
    done = call_worker("sources.torch_worker", order, deadline_s=spec.deadline_s)
    if done.exit_code != 0 or not path.is_file():
        raise ConvertError(
            f"{spec.source}: torch does not export it: {ending(done)}",
            hint="the function returns (module, inputs); inputs that vary are named in "
            "--shapes",
        )
    model = load_onnx(path)
    name_axes(model)
    del model.metadata_props[:]  # the exporter's, of this run
    save_onnx(model, path)
    return path


def _first(profiles: Sequence[Profile]) -> Profile:
    return profiles[0] if profiles else {}


def varying_axes(profiles: Sequence[Profile]) -> dict[str, list[int]]:
    """Return, by input, the axes whose size is not the same everywhere."""
    found: dict[str, set[int]] = {}
    for profile in profiles:
        for name, bounds in profile.items():
            opt = profiles[0][name].opt if name in profiles[0] else bounds.opt
            sizes = zip(bounds.min, opt, bounds.max, strict=True)
            axes = {axis for axis, s in enumerate(sizes) if len(set(s)) > 1}
            found.setdefault(name, set()).update(axes)
    return {name: sorted(axes) for name, axes in found.items() if axes}


def name_axes(model: ModelProto) -> None:
    """Name axes that vary: `batch` for the first of each input, else INPUT_AXIS."""
    names: dict[str, str] = {}
    for value in model.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.HasField("dim_value"):
                continue
            new = "batch" if axis == 0 else f"{value.name}_{axis}"
            if dim.dim_param:
                new = names.setdefault(dim.dim_param, new)
            dim.dim_param = new
    for value in (*model.graph.output, *model.graph.value_info):
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                text = names.get(dim.dim_param, dim.dim_param)
                dim.dim_param = text or f"{value.name}_{axis}"


def run_torch(
    spec: ConvertSpec, onnx: Path, feeds: FeedFiles, *, answers: Path
) -> list[Feed]:
    """Return what the torch module itself answers, under the export's output names.

    Raises:
        VerifyError: it does not run on a feed, or answers in another number of outputs.
    """
    answers.mkdir(parents=True, exist_ok=True)
    outside = inspect_onnx(onnx)
    order: Mapping[str, Any] = {
        "what": "run",
        "source": str(spec.source),
        "root": str(spec.root) if spec.root else None,
        "shapes": {n: list(r.opt) for n, r in _first(spec.profiles).items()},
        "names": feeds.names,
        "inputs": [tensor.name for tensor in outside.inputs],
        "feeds": [str(path) for path in feeds.paths],
        "answers": str(answers),
    }
    done = call_worker("sources.torch_worker", dict(order), deadline_s=spec.deadline_s)
    if done.exit_code != 0:
        raise VerifyError(f"torch does not run it: {ending(done)}")
    names = [tensor.name for tensor in outside.outputs]
    if (count := json.loads(done.stdout)["outputs"]) != len(names):
        raise VerifyError(f"torch gives {count} outputs, its export {len(names)}")
    return [
        read_feed(answers / f"answer_{index}.npz", names)
        for index in range(len(feeds.paths))
    ]
