"""Which nodes have no bfloat16 kernel in ONNX Runtime's CUDA provider.

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

import onnx
from onnx import ModelProto, NodeProto

from triton_kit.conversion.onnx.onnx_file import opset_of, value_types
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.workers.child import call_worker, conversion_failed
from triton_kit.errors import ConvertError
from triton_kit.process import run_child
from triton_kit.triton.releases import find_release

CUDA = "CUDAExecutionProvider"
# Provider -> version of ONNX Runtime -> precision -> operators that open in it.
Table = Mapping[str, Mapping[str, Mapping[str, list[str]]]]
OPSET = 22  # of bfloat16, at which the operators of the table were opened
_HIDDEN = ("", "-1")  # values of CUDA_VISIBLE_DEVICES
_LIST_GPUS = ["nvidia-smi", "--list-gpus"]
_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Known:
    """The operators that open in bfloat16, by one provider of one ONNX Runtime."""

    provider: str
    version: str = ""
    operators: frozenset[str] = frozenset()


def without_kernel(model: ModelProto, known: Known) -> dict[str, str]:
    """Return the nodes that no kernel runs in bfloat16, with the reason.

    Empty where nothing is known: the accuracy gate then has the last word.

    Args:
        model: every node has a name of its own.
        known: what opens.
    """
    if not known.operators:
        return {}
    types = value_types(model)
    opset = opset_of(model)
    why = f"{known.provider} of ONNX Runtime {known.version} has no bf16 kernel of"
    return {
        node.name: f"{why} {node.op_type}"
        for node in model.graph.node
        if node.op_type not in known.operators and _is_lowered(node, opset, types)
    }


def cuda_kernels(spec: ConvertSpec) -> Known:
    """Return what the CUDA provider opens: of a release, else of what is installed.

    Of a version that is in no table that of the next older one, else of the oldest.
    """
    if spec.release is not None:
        return known_kernels(CUDA, find_release(spec.release).onnxruntime)
    found = installed_kernels(CUDA, spec.timeout_s) if has_cuda_provider() else None
    return found or known_kernels(CUDA, _onnxruntime_version())


def known_kernels(provider: str, version: str) -> Known:
    """Return what the table has of a version, or of the nearest one."""
    known = _table().get(provider, {})
    versions = sorted(known, key=_numbers)
    older = [v for v in versions if _numbers(v) <= _numbers(version)]
    chosen = (older[-1:] or versions[:1] or [""])[0]
    operators = known.get(chosen, {}).get("bf16", [])
    return Known(provider, chosen, frozenset(operators))


@cache
def _table() -> Table:
    text = files(__package__).joinpath("kernels.json").read_text(encoding="utf-8")
    found: Table = json.loads(text)
    return found


@cache
def installed_kernels(provider: str, timeout_s: float) -> Known | None:
    """Ask the installed ONNX Runtime, in a process of its own.

    None where that process fails: what it would tell is no reason to end a conversion.
    """
    try:
        response = call_worker(
            "workers.kernels_worker",
            {"precision": "bf16", "opset": OPSET, "provider": provider},
            timeout_s=timeout_s,
            failed=conversion_failed("ONNX Runtime does not tell its kernels"),
            preloaded=True,
        )
    except ConvertError:
        return None
    return Known(provider, response["version"], frozenset(response["operators"]))


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


def _is_lowered(node: NodeProto, opset: int, types: Mapping[str, int]) -> bool:
    """Say whether a node has float32 values that its operator takes as bfloat16."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return False  # another domain's
    return any(
        types.get(name) == onnx.TensorProto.FLOAT
        and "tensor(bfloat16)" in formals[min(slot, len(formals) - 1)].types
        for names, formals in (
            (node.input, schema.inputs),
            (node.output, schema.outputs),
        )
        for slot, name in enumerate(names)
    )
