"""What the Python APIs of TensorRT 10, TensorRT 11 and TensorRT for RTX have.

The tables in `tensorrt_api.json` come from the real modules; a test takes them again
and compares. To take the table of another version:

    python -m triton_kit.conversion.tensorrt.tensorrt_api tensorrt
"""

from __future__ import annotations

import json
import sys
from functools import cache
from importlib import import_module
from importlib.resources import files
from types import ModuleType

ENUMS = (
    "BuilderFlag",
    "ComputeCapability",
    "DataType",
    "HardwareCompatibilityLevel",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParserFlag",
    "PreviewFeature",
    "ProfilingVerbosity",
    "RuntimePlatform",
    "TacticSource",
    "TilingOptimizationLevel",
)
CLASSES = ("Builder", "IBuilderConfig", "IPluginRegistry", "OnnxParser")
Names = dict[str, tuple[str, ...]]


def collect(module: ModuleType) -> dict[str, list[str]]:
    """Return the members of the enums and classes above, where a module has them."""
    found = {
        name: sorted(getattr(module, name).__members__)
        for name in ENUMS
        if hasattr(module, name)
    }
    for name in CLASSES:
        if hasattr(module, name):
            attributes = dir(getattr(module, name))
            found[name] = sorted(a for a in attributes if not a.startswith("_"))
    return found


@cache
def known_api(backend: str) -> Names:
    """Return the table of a backend: `trt10`, `trt11`, `rtx`."""
    file = files("triton_kit.conversion.tensorrt").joinpath("tensorrt_api.json")
    tables = json.loads(file.read_text("utf-8"))
    return {name: tuple(members) for name, members in tables[backend]["api"].items()}


def has(api: Names, dotted: str) -> bool:
    """Say whether a table has `Class.member`."""
    name, _, member = dotted.partition(".")
    return member in api.get(name, ())


if __name__ == "__main__":
    module = import_module(sys.argv[1])
    table = {"version": module.__version__, "api": collect(module)}
    json.dump(table, sys.stdout, indent=1)
