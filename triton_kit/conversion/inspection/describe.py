"""What an ONNX file, a plan, an RTX engine or a manifest says of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

from onnx import ModelProto, TensorProto

from triton_kit.artifact import inspect_onnx, inspect_plan, is_plan
from triton_kit.conversion.inspection.profile import (
    ProfileSpec,
    profile_engine,
    profile_lines,
    profile_onnx,
)
from triton_kit.conversion.onnx.onnx_file import (
    all_nodes,
    artifact_files,
    load_onnx,
    value_types,
)
from triton_kit.conversion.results.manifest import read_manifest, sha256
from triton_kit.conversion.tensorrt.engine import installed_backend
from triton_kit.conversion.workers.child import call_worker, reason
from triton_kit.errors import ConvertError, SpecError
from triton_kit.tensors import Tensor
from triton_kit.triton.releases import all_releases

Json = Any
Facts = dict[str, Json]


def describe(
    path: Path, *, profile: ProfileSpec | None = None, timeout_s: float = 300.0
) -> Facts:
    """Return what a file says of itself, as JSON.

    Args:
        path: an ONNX file, a plan, an RTX engine or a manifest.
        profile: run it as well, so, and return the time of each of its nodes.
        timeout_s: maximum seconds for one child process.

    Raises:
        ConvertError: it is none of these, or is cut short.
        SpecError: there is no such file, or it cannot be profiled here.
    """
    if not path.is_file():
        raise SpecError(f"{path}: no such file")
    if is_plan(path):
        timed = {"profile": profile_engine(path, profile)} if profile else {}
        return _engine(path, timeout_s) | timed
    with path.open("rb") as file:
        head = file.read(4)
    if head.lstrip()[:1] == b"{":
        if profile:
            raise SpecError(f"{path}: a manifest does not run: profile its artifact")
        return _manifest(path)
    facts = _onnx(path, timeout_s)
    if profile:
        facts["profile"] = profile_onnx(path, profile)
    return facts


def _onnx(path: Path, timeout_s: float) -> Facts:
    outside, model = inspect_onnx(path), load_onnx(path)
    weights = model.graph.initializer
    return {
        "kind": "onnx",
        "bytes": sum(file.stat().st_size for file in artifact_files(path)),
        "opsets": dict(outside.opsets),
        "ir_version": outside.ir_version,
        "producer": outside.producer,
        "inputs": [_tensor(t, outside.axis_names) for t in outside.inputs],
        "outputs": [_tensor(t, outside.axis_names) for t in outside.outputs],
        "nodes": len(model.graph.node),
        "ops": _counted(node.op_type for node in all_nodes(model.graph)),
        "parameters": sum(prod(t.dims) for t in weights),
        "precisions": {
            "weights": _type_counts({t.name: t.data_type for t in weights}),
            "values": _type_counts(_made(model)),
        },
        "external_files": list(outside.external_files),
        "tensorrt": _tensorrt_lacks(path, timeout_s),
    }


def _tensor(tensor: Tensor, axes: Mapping[str, tuple[str | None, ...]]) -> Facts:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype.name,
        "shape": list(tensor.shape),
        "axes": list(axes.get(tensor.name, ())),
    }


def _counted(names: Any) -> dict[str, int]:  # noqa: ANN401  any iterable of words
    return dict(Counter(names).most_common())


def _made(model: ModelProto) -> dict[str, int]:
    types = value_types(model)
    made = {name for node in model.graph.node for name in node.output}
    return {name: kind for name, kind in types.items() if name in made}


def _type_counts(types: Mapping[str, int]) -> dict[str, int]:
    return _counted(TensorProto.DataType.Name(kind) for kind in types.values())


def _tensorrt_lacks(path: Path, timeout_s: float) -> Facts:
    """Ask the parser of the TensorRT that is installed; say so where none is."""
    backend = installed_backend("plan") or installed_backend("rtx")
    if backend is None:
        return {"asked": None, "reason": "no TensorRT is installed"}
    try:
        return {"asked": backend, **_ask("parse", backend, path, timeout_s)}
    except ConvertError as error:
        return {"asked": backend, "reason": error.message}


def _ask(what: str, backend: str, path: Path, timeout_s: float) -> Facts:
    """Let TensorRT parse a graph or list an engine's layers, in a worker."""
    response: Facts = call_worker(
        "inspection.describe_worker",
        {"what": what, "backend": backend, "file": str(path.resolve())},
        timeout_s=timeout_s,
        failed=lambda done: ConvertError(reason(done)),
    )
    return response


def _engine(path: Path, timeout_s: float) -> Facts:
    header = inspect_plan(path)
    facts: Facts = {
        "kind": header.kind,
        "bytes": path.stat().st_size,
        "version": header.version_text,
        "triton_releases": [
            release.release
            for release in all_releases()
            if header.kind == "tensorrt"
            and release.tensorrt
            and header.version_text.startswith(release.tensorrt)
        ],
    }
    backend = "rtx" if header.kind == "tensorrt-rtx" else "tensorrt"
    module = "tensorrt_rtx" if backend == "rtx" else "tensorrt"
    if find_spec(module) is None:
        return facts | {"layers": None, "reason": f"{module} is not installed"}
    try:
        return facts | _ask("layers", backend, path, timeout_s)
    except ConvertError as error:
        why = f"the engine cannot be opened without its GPU: {error.message}"
        return facts | {"layers": None, "reason": why}


def _manifest(path: Path) -> Facts:
    """Return a manifest, and whether the files beside it are still those it names."""
    facts = read_manifest(path)
    state = {}
    for name, file in facts["files"].items():
        beside = path.parent / name
        if not beside.is_file():
            state[name] = "missing"
        else:
            state[name] = "intact" if sha256(beside) == file["sha256"] else "changed"
    return {"kind": "manifest", "state": state, "manifest": facts}


def description_lines(facts: Facts) -> list[str]:
    """Return what `describe` found, for a terminal."""
    return _LINES.get(facts["kind"], _engine_lines)(facts)


def _onnx_lines(facts: Facts) -> list[str]:
    ops = ", ".join(f"{count} {op}" for op, count in list(facts["ops"].items())[:12])
    lines = [
        f"ONNX, opset {facts['opsets'].get('', '?')}, {facts['producer'] or 'unknown'}",
        *(f"  input   {_tensor_line(t)}" for t in facts["inputs"]),
        *(f"  output  {_tensor_line(t)}" for t in facts["outputs"]),
        f"  {facts['nodes']} nodes: {ops}",
        f"  {facts['parameters']:,} parameters, {facts['bytes']:,} bytes",
        f"  weights {_counts(facts['precisions']['weights'])}",
        f"  values  {_counts(facts['precisions']['values'])}",
        f"  {_tensorrt_line(facts['tensorrt'])}",
    ]
    return lines + _profile_lines(facts)


def _profile_lines(facts: Facts) -> list[str]:
    return profile_lines(facts["profile"]) if "profile" in facts else []


def _tensor_line(tensor: Facts) -> str:
    pairs = zip(tensor["shape"], tensor["axes"], strict=False)
    shape = [str(name) if size < 0 and name else str(size) for size, name in pairs]
    return f"{tensor['name']}: {tensor['dtype']} ({', '.join(shape)})"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"


def _tensorrt_line(facts: Facts) -> str:
    if "supported" not in facts:
        return f"TensorRT: not asked, {facts['reason']}"
    if facts["supported"]:
        return f"TensorRT ({facts['asked']}) takes every node"
    return f"TensorRT ({facts['asked']}) lacks: {'; '.join(facts['errors'])}"


def _engine_lines(facts: Facts) -> list[str]:
    lines = [f"{facts['kind']} {facts['version']}, {facts['bytes']:,} bytes"]
    if facts["kind"] == "tensorrt":
        releases = ", ".join(facts["triton_releases"]) or "no known release"
        lines.append(f"  loads in Triton {releases}")
    else:
        lines.append("  Triton's TensorRT backend does not load it")
    if facts.get("layers") is None:
        return [*lines, f"  layers: not read, {facts['reason']}"]
    lines.append(f"  {len(facts['layers'])} layers, {facts['profiles']} profiles")
    return lines + _profile_lines(facts)


def _manifest_lines(facts: Facts) -> list[str]:
    manifest = facts["manifest"]
    lines = [f"manifest of {manifest.get('artifact') or manifest.get('model')}"]
    lines += [f"  {name}: {state}" for name, state in facts["state"].items()]
    for output in (manifest.get("accuracy") or {}).get("outputs", ()):
        snr = "inf" if output["snr_db"] is None else f"{output['snr_db']:.1f}"
        lines.append(f"  {output['name']}: SNR {snr} dB")
    return lines


_LINES = {"onnx": _onnx_lines, "manifest": _manifest_lines}
