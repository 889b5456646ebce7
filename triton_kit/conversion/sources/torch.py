"""A torch module becomes an ONNX file, and runs itself, in a child process."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from onnx import ModelProto

from triton_kit.conversion.onnx.onnx_file import load_onnx, save_onnx
from triton_kit.conversion.onnx.passes import user_folder
from triton_kit.conversion.onnx.source_model import SourceModel
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.workers.child import call_worker, reason
from triton_kit.conversion.workers.models import FeedFiles, read_outputs
from triton_kit.conversion.workers.samples import Outputs
from triton_kit.errors import ConvertError, MissingExtraError, VerifyError
from triton_kit.options.shapes import Profile

DEFAULT_OPSET = 18


def source_from_torch(spec: ConvertSpec, scratch: Path) -> SourceModel:
    """Export a file of torch's with named axes that vary as the profiles say.

    Raises:
        ConvertError: torch does not export it.
        MissingExtraError: torch is not installed.
    """
    if find_spec("torch") is None or find_spec("onnxscript") is None:
        raise MissingExtraError("torch, with onnxscript", extra="torch")
    path = scratch / "exported.onnx"
    call_worker(
        "sources.torch_worker",
        export_request(spec, path),
        timeout_s=spec.timeout_s,
        failed=lambda done: ConvertError(
            f"{spec.source}: torch does not export it: {reason(done)}",
            hint="inputs that vary are named in --shape",
        ),
    )
    return finish_export(path)


def export_request(spec: ConvertSpec, path: Path) -> dict[str, Any]:
    """Return what a worker needs to export a source to an ONNX file."""
    return _request(spec, "export") | {
        "onnx": str(path),
        "varying": varying_axes(spec.profiles),
        "opset": spec.opset or DEFAULT_OPSET,
    }


def _request(spec: ConvertSpec, what: str) -> dict[str, Any]:
    first = spec.profiles[0] if spec.profiles else {}
    return {
        "what": what,
        "source": str(spec.source),
        "root": user_folder(spec.root),
        "shapes": {name: list(bounds.opt) for name, bounds in first.items()},
    }


def finish_export(path: Path) -> SourceModel:
    """Name the axes of what torch exported, and read it."""
    model = load_onnx(path)
    name_axes(model)
    del model.metadata_props[:]  # the exporter's, of this run
    save_onnx(model, path)
    return SourceModel.read(path, framework="torch")


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


def run_source(
    spec: ConvertSpec, source: SourceModel, feeds: FeedFiles, *, folder: Path
) -> list[Outputs]:
    """Return the outputs of the source itself, under the export's names.

    Raises:
        VerifyError: it does not run on a feed, or has another number of outputs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    request = _request(spec, "run") | {
        "names": feeds.names,
        "inputs": [tensor.name for tensor in source.facts.inputs],
        "feeds": [str(path) for path in feeds.paths],
        "folder": str(folder),
        "estimator": str(source.estimator or ""),
        "ranks": [len(tensor.shape) for tensor in source.facts.outputs],
    }
    is_function = isinstance(spec.source, str)
    response = call_worker(
        "sources.function_worker" if is_function else "sources.torch_worker",
        request,
        timeout_s=spec.timeout_s,
        failed=lambda done: VerifyError(
            f"{source.framework} does not run it: {reason(done)}"
        ),
    )
    names = [tensor.name for tensor in source.facts.outputs]
    if (count := response["outputs"]) != len(names):
        raise VerifyError(
            f"{source.framework} gives {count} outputs, its export {len(names)}"
        )
    return read_outputs(folder, names, len(feeds.paths))
