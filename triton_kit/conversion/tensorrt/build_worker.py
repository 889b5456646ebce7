"""The worker that builds a plan or an RTX engine; TensorRT can end its process."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from triton_kit.conversion.tensorrt.builder_options import OPTIONS
from triton_kit.conversion.workers.memory import peak_memory_bytes
from triton_kit.conversion.workers.worker import Request, import_named

Json = Any
Native = Any  # modules and objects of TensorRT and Polygraphy, which have no types


class BuildFailedError(Exception):
    """TensorRT refused the model; the message is for the user."""


def work(request: Request) -> dict[str, Any]:
    """Parse, configure, build, write; return a report."""
    if request["backend"] == "rtx":
        # Polygraphy reads it once, at import.
        os.environ["POLYGRAPHY_USE_TENSORRT_RTX"] = "1"
    started_s = time.monotonic()
    trt = import_module("tensorrt_rtx" if request["backend"] == "rtx" else "tensorrt")
    from polygraphy.backend.trt import engine_bytes_from_network, network_from_onnx_path

    _load_plugins(trt, request["options"].get("plugins", ()), Path(request["root"]))
    builder, network, parser = network_from_onnx_path(
        request["onnx"], strongly_typed=True
    )
    config = _configured(trt, builder, network, request)
    _check_profiles(config, request["profiles"])
    report = {
        "tensorrt": trt.__version__,
        "layers": network.num_layers,
        "compute_capability": _compute_capability(),
        "inputs": _tensors(network.num_inputs, network.get_input),
        "outputs": _tensors(network.num_outputs, network.get_output),
    }
    engine = engine_bytes_from_network(
        (builder, network, parser),
        config=config,
        save_timing_cache=request["options"].get("timing_cache"),
    )
    Path(request["engine"]).write_bytes(memoryview(engine))
    report["bytes"] = len(memoryview(engine))
    report["seconds"] = time.monotonic() - started_s
    report["peak_memory_bytes"] = peak_memory_bytes()
    return report


def _tensors(count: int, get: Native) -> list[dict[str, Any]]:
    tensors = [get(index) for index in range(count)]
    return [
        {"name": t.name, "dtype": str(t.dtype), "shape": list(t.shape)} for t in tensors
    ]


def _compute_capability() -> str | None:
    """Return the first GPU's compute capability, from the driver; None without one."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, numbers = ctypes.c_int(), []
    if cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0):
        return None
    for attribute in (75, 76):  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, MINOR
        value = ctypes.c_int()
        if cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device):
            return None
        numbers.append(str(value.value))
    return ".".join(numbers)


def _load_plugins(trt: Native, names: list[str], root: Path) -> None:
    for name in names:
        if not name.endswith(".so"):
            import_named(name, root)  # registers its plugins when imported
            continue
        ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        if trt.get_plugin_registry().load_library(name) is None:
            raise BuildFailedError(f"plugin library {name} registered nothing")


def _configured(
    trt: Native, builder: Native, network: Native, request: Request
) -> Native:
    """Return the builder's config: profiles by Polygraphy, flags by name."""
    from polygraphy.backend.trt import CreateConfig, Profile

    options = request["options"]
    arguments: dict[str, Native] = {
        "profiles": [_profile(Profile, ranges) for ranges in request["profiles"]],
        "memory_pool_limits": {
            getattr(trt.MemoryPoolType, name.upper()): value
            for name, value in options.items()
            if OPTIONS[name].kind == "bytes"
        },
    }
    if Path(str(options.get("timing_cache", ""))).is_file():
        arguments["load_timing_cache"] = options["timing_cache"]
    if request["backend"] == "rtx":
        from polygraphy.backend.tensorrt_rtx import CreateConfigRTX

        hardware = [tuple(map(int, c.split("."))) for c in options.get("hardware", ())]
        arguments["compute_capabilities"] = hardware or None
        config = CreateConfigRTX(**arguments)(builder, network)
    else:
        config = CreateConfig(**arguments)(builder, network)
    for name, value in options.items():
        _set(trt, config, name, value)
    return config


def _profile(kind: Native, ranges: Mapping[str, Any]) -> Native:
    profile = kind()
    for name, bounds in ranges.items():
        profile.add(name, *map(tuple, bounds))
    return profile


_PROPERTIES = {
    "optimization_level": "builder_optimization_level",
    "max_aux_streams": "max_aux_streams",
    "hardware_compatibility": "hardware_compatibility_level",
    "layer_info": "profiling_verbosity",
    "tiling": "tiling_optimization_level",
    "runtime_platform": "runtime_platform",
    "embed_plugins": "plugins_to_serialize",
}


def _set(trt: Native, config: Native, name: str, value: Json) -> None:
    """Set one option. Compared with None, never by truth: level 0 is a level."""
    option = OPTIONS[name]
    if option.kind == "flag" or name == "refit":
        member = (
            option.choices[value] if name == "refit" else option.needs.split(".")[1]
        )
        flag = getattr(trt.BuilderFlag, member)
        (config.clear_flag if value is False else config.set_flag)(flag)
    elif name == "dla_core":
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = value
    elif name in _PROPERTIES:
        if option.kind == "choice":
            enum = getattr(trt, option.needs.split(".")[0])
            value = getattr(enum, option.choices[value])
        setattr(config, _PROPERTIES[name], value)
        if getattr(config, _PROPERTIES[name]) != value:
            raise BuildFailedError(f"option {name}: TensorRT did not take {value}")


def _check_profiles(config: Native, wanted: list[Any]) -> None:
    # TensorRT returns -1 for a profile that it refuses, and builds without it.
    if config.num_optimization_profiles != len(wanted):
        raise BuildFailedError(
            f"TensorRT refused an optimisation profile: {len(wanted)} given, "
            f"{config.num_optimization_profiles} taken"
        )
