"""The worker of `precision.kernels`: the kernels of the installed ONNX Runtime.

Run as a program it adds them to the table of the kit: `scripts/kernels`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as internals

Json = Any
_SHORT = {
    "tensor(float)": "fp32",
    "tensor(float16)": "fp16",
    "tensor(bfloat16)": "bf16",
    "tensor(float8e4m3fn)": "fp8",
}


def work(_request: dict[str, Json]) -> Json:
    """Return the kernels that take floats: provider -> operator -> kernels.

    A kernel is the first and the last opset of its operator, and by type parameter the
    floating-point types that it takes. Those of float32 alone are left out: an operator
    that is not there has no other kernels.
    """
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # of NVIDIA's wheels, for the CUDA provider
    found: dict[str, dict[str, list[Json]]] = {}
    for kernel in internals.get_all_opkernel_def():
        types = {
            name: sorted(_SHORT[t] for t in allowed if t in _SHORT)
            for name, allowed in kernel.type_constraints.items()
        }
        types = {name: allowed for name, allowed in types.items() if allowed}
        is_low = any(set(allowed) - {"fp32"} for allowed in types.values())
        if kernel.domain in ("", "ai.onnx") and is_low:
            first, last = kernel.version_range
            kernels = found.setdefault(kernel.provider, {})
            row = [first, last if last < 1 << 30 else None, types]
            kernels.setdefault(kernel.op_name, []).append(row)
    return {"version": ort.__version__, "providers": found}


def main(table: Path) -> None:
    """Add the kernels of this machine's ONNX Runtime to the table."""
    known = json.loads(table.read_text()) if table.exists() else {}
    response = work({})
    for provider, kernels in response["providers"].items():
        known.setdefault(provider, {})[response["version"]] = kernels
        sys.stdout.write(f"{provider} {response['version']}: {len(kernels)} ops\n")
    rows = json.dumps(known, sort_keys=True).replace("]], ", "]],\n ")
    table.write_text(rows + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
