"""Which nodes have no kernel in a lower precision in ONNX Runtime's CUDA provider.

ONNX Runtime runs a float16 node without a kernel in float32 by itself. Of a bfloat16
node without one it says, when it opens the file, that the node has no provider.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto, NodeProto

from triton_kit.conversion.onnx.onnx_file import opset_of, value_types
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.workers.child import call_worker, conversion_failed
from triton_kit.process import run_child
from triton_kit.triton.releases import find_release

CUDA = "CUDAExecutionProvider"
# Operator -> kernels: first and last opset, types by type parameter.
Kernels = Mapping[str, list[Any]]
_HIDDEN = ("", "-1")  # values of CUDA_VISIBLE_DEVICES
_LIST_GPUS = ["nvidia-smi", "--list-gpus"]
_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Known:
    """The kernels of one provider in one version of ONNX Runtime."""

    provider: str
    version: str
    kernels: Kernels


def without_kernel(model: ModelProto, to: str, known: Known) -> dict[str, str]:
    """Return the nodes that no kernel runs in `to`, with the reason.

    Empty where no kernels are known: the accuracy gate then has the last word.

    Args:
        model: every node has a name of its own.
        to: `fp16` or `bf16`.
        known: the kernels of one provider.
    """
    if not known.kernels:
        return {}
    types = value_types(model)
    opset = opset_of(model)
    why = f"{known.provider} of ONNX Runtime {known.version} has no {to} kernel of"
    return {
        node.name: f"{why} {node.op_type}"
        for node in model.graph.node
        if not _has_kernel(node, opset, types, known.kernels, to)
    }


def cuda_kernels(spec: ConvertSpec) -> Known:
    """Return the CUDA provider's kernels in a release, else in what is installed here.

    Of a version that is in no table those of the next older one, else the oldest.
    """
    if spec.release is None:
        if has_cuda_provider():
            return installed_kernels(CUDA, spec.timeout_s)
        return known_kernels(CUDA, _onnxruntime_version())
    return known_kernels(CUDA, find_release(spec.release).onnxruntime)


def known_kernels(provider: str, version: str) -> Known:
    """Return what the table has of a version, or of the nearest one."""
    known = _table().get(provider, {})
    versions = sorted(known, key=_numbers)
    older = [v for v in versions if _numbers(v) <= _numbers(version)]
    chosen = (older[-1:] or versions[:1] or [""])[0]
    return Known(provider, chosen, known.get(chosen, {}))


@cache
def _table() -> Mapping[str, Mapping[str, Kernels]]:
    text = files(__package__).joinpath("kernels.json").read_text(encoding="utf-8")
    found: Mapping[str, Mapping[str, Kernels]] = json.loads(text)
    return found


@cache
def installed_kernels(provider: str, timeout_s: float) -> Known:
    """Ask the installed ONNX Runtime itself, in a process of its own."""
    response = call_worker(
        "workers.kernels_worker",
        {},
        timeout_s=timeout_s,
        failed=conversion_failed("ONNX Runtime does not list its kernels"),
    )
    kernels = response["providers"].get(provider, {})
    return Known(provider, response["version"], kernels)


def _onnxruntime_version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit())


@cache
def has_cuda_provider() -> bool:
    """Whether this machine has a GPU, and an ONNX Runtime that uses it."""
    package = find_spec("onnxruntime")
    folders = (package.submodule_search_locations if package else None) or ()
    library = "capi/libonnxruntime_providers_cuda.so"
    if not any((Path(folder) / library).exists() for folder in folders):
        return False
    is_hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all") in _HIDDEN
    if is_hidden or not shutil.which(_LIST_GPUS[0]):
        return False
    done = run_child(_LIST_GPUS, deadline_s=_WITHIN_S)
    return done.exit_code == 0 and "GPU" in done.stdout


def _has_kernel(
    node: NodeProto, opset: int, types: Mapping[str, int], kernels: Kernels, to: str
) -> bool:
    """Say whether a kernel takes the lower type wherever this node has float32."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return True  # another domain's: it is not lowered at all
    low = "tensor(bfloat16)" if to == "bf16" else "tensor(float16)"
    needed = {
        formals[min(slot, len(formals) - 1)].type_str
        for names, formals in (
            (node.input, schema.inputs),
            (node.output, schema.outputs),
        )
        for slot, name in enumerate(names)
        if types.get(name) == onnx.TensorProto.FLOAT
        and low in formals[min(slot, len(formals) - 1)].types
    }
    since = schema.since_version
    return not needed or any(
        _is_for(first, last, since)
        and all(to in taken.get(parameter, [to]) for parameter in needed)
        for first, last, taken in kernels.get(node.op_type, ())
    )


def _is_for(first: int, last: int | None, since: int) -> bool:
    """Say whether ONNX Runtime takes a kernel for an operator of this version.

    A kernel without a last version is for the version that it names alone.
    """
    return first == since or (last is not None and first < since <= last)
