"""The TensorRT builder's options: their names, values, and which backend has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from triton_kit.conversion.tensorrt.tensorrt_api import Names, has
from triton_kit.errors import SpecError, did_you_mean

Backend = Literal["trt10", "trt11", "rtx"]
BACKEND_NAMES: Mapping[str, str] = {
    "trt10": "TensorRT 10",
    "trt11": "TensorRT 11",
    "rtx": "TensorRT for RTX",
}
Kind = Literal["flag", "number", "bytes", "choice", "list", "path"]
Value = bool | int | str | tuple[str, ...]

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option.

    Attributes:
        kind: what its value is.
        needs: what the Python API must have, as `Class.member`; `{}` is the chosen
            member.
        choices: word to member, for `choice`; bounds as least and largest for `number`.
        trtexec: the same for trtexec; `{}` is the value. Empty: trtexec has no such
            option.
        refused: backend to why it does not get this option although its API has it.
    """

    about: str
    kind: Kind
    needs: str
    choices: Mapping[str, str] = field(default_factory=dict)
    least: int = 0
    most: int = 2**31
    trtexec: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)


_NO_EFFECT = {"rtx": "it has no effect there"}
_NO_DLA = {
    "rtx": "it has no DLA, and would build for the GPU without saying so",
    "trt11": "TensorRT 11 builds for no DLA",
}
_NO_PLUGINS = {"rtx": "its parser ends the process when it meets a plugin"}
_FIXED_SERVER_LIBRARY = {"rtx": "it ships no lean runtime"}


def _pool(name: str, about: str, refused: Mapping[str, str] | None = None) -> Option:
    return Option(
        about=about,
        kind="bytes",
        needs=f"MemoryPoolType.{name.upper()}",
        trtexec=f"--memPoolSize={_POOLS_OF_TRTEXEC[name]}:{{}}B",
        refused=refused or {},
    )


_POOLS_OF_TRTEXEC = {
    "workspace": "workspace",
    "tactic_shared_memory": "tacticSharedMem",
    "dla_managed_sram": "dlaSRAM",
    "dla_local_dram": "dlaLocalDRAM",
    "dla_global_dram": "dlaGlobalDRAM",
}


def _flag(
    flag: str, about: str, trtexec: str = "", refused: Mapping[str, str] | None = None
) -> Option:
    return Option(
        about=about,
        kind="flag",
        needs=f"BuilderFlag.{flag}",
        trtexec=trtexec,
        refused=refused or {},
    )


OPTIONS: Mapping[str, Option] = {
    "workspace": _pool("workspace", "memory that kernels may use, such as 2G"),
    "tactic_shared_memory": _pool("tactic_shared_memory", "shared memory of kernels"),
    "dla_managed_sram": _pool("dla_managed_sram", "SRAM of a DLA core", _NO_DLA),
    "dla_local_dram": _pool("dla_local_dram", "DRAM for a DLA's values", _NO_DLA),
    "dla_global_dram": _pool("dla_global_dram", "DRAM for a DLA's weights", _NO_DLA),
    "optimization_level": Option(
        about="how long to search for fast kernels",
        kind="number",
        needs="IBuilderConfig.builder_optimization_level",
        most=5,
        trtexec="--builderOptimizationLevel={}",
    ),
    "max_aux_streams": Option(
        about="streams that one inference may use besides its own",
        kind="number",
        needs="IBuilderConfig.max_aux_streams",
        most=64,
        trtexec="--maxAuxStreams={}",
    ),
    "timing_cache": Option(
        about="file of kernel timings, read and written",
        kind="path",
        needs="IBuilderConfig.create_timing_cache",
        trtexec="--timingCacheFile={}",
        refused=_NO_EFFECT,
    ),
    "deterministic": _flag(
        "ERROR_ON_TIMING_CACHE_MISS",
        "build from the timing cache alone: the same cache, the same plan",
        "--errorOnTimingCacheMiss",
        _NO_EFFECT,
    ),
    "version_compatible": _flag(
        "VERSION_COMPATIBLE",
        "the plan loads in later TensorRT versions too",
        "--versionCompatible",
        _FIXED_SERVER_LIBRARY,
    ),
    "exclude_lean_runtime": _flag(
        "EXCLUDE_LEAN_RUNTIME",
        "a version compatible plan without the runtime inside",
        "--excludeLeanRuntime",
        _FIXED_SERVER_LIBRARY,
    ),
    "hardware_compatibility": Option(
        about="other GPUs that the plan loads on",
        kind="choice",
        needs="HardwareCompatibilityLevel.{}",
        choices={
            "none": "NONE",
            "ampere_plus": "AMPERE_PLUS",
            "same_compute_capability": "SAME_COMPUTE_CAPABILITY",
        },
        trtexec="--hardwareCompatibilityLevel={}",
        refused={"rtx": "it has no effect there: use hardware"},
    ),
    "refit": Option(
        about="weights that can be replaced later; `identical` only by the same ones",
        kind="choice",
        needs="BuilderFlag.{}",
        choices={
            "all": "REFIT",
            "identical": "REFIT_IDENTICAL",
            "individual": "REFIT_INDIVIDUAL",
        },
        trtexec="--refit",
        refused={"rtx": "it needs a GPU at build time"},
    ),
    "strip_weights": _flag(
        "STRIP_PLAN",
        "a plan without its weights, to be refitted at load",
        "--stripWeights",
        {"rtx": "it needs a GPU at build time"},
    ),
    "weight_streaming": _flag(
        "WEIGHT_STREAMING",
        "weights stay on the host until they are needed",
        "--allowWeightStreaming",
    ),
    "sparsity": _flag(
        "SPARSE_WEIGHTS",
        "use 2:4 sparse kernels where weights are",
        "--sparsity=enable",
    ),
    "tf32": _flag("TF32", "float32 products with 10 bits of mantissa"),
    "strict_nans": _flag("STRICT_NANS", "kernels may not lose NaN"),
    "direct_io": _flag("DIRECT_IO", "no reformatting at inputs and outputs"),
    "dla_core": Option(
        about="the DLA core to build for",
        kind="number",
        needs="IBuilderConfig.DLA_core",
        most=7,
        trtexec="--useDLACore={}",
        refused=_NO_DLA,
    ),
    "gpu_fallback": _flag(
        "GPU_FALLBACK",
        "layers that the DLA lacks run on the GPU",
        "--allowGPUFallback",
        _NO_DLA,
    ),
    "layer_info": Option(
        about="what the plan tells of its layers",
        kind="choice",
        needs="ProfilingVerbosity.{}",
        choices={"none": "NONE", "names": "LAYER_NAMES_ONLY", "detailed": "DETAILED"},
        trtexec="--profilingVerbosity={}",
    ),
    "plugins": Option(
        about="plugin libraries (.so) and Python modules that register plugins",
        kind="list",
        needs="IPluginRegistry.load_library",
        trtexec="--dynamicPlugins={}",
        refused=_NO_PLUGINS,
    ),
    "embed_plugins": Option(
        about="plugin libraries that the plan carries inside",
        kind="list",
        needs="IBuilderConfig.plugins_to_serialize",
        trtexec="--setPluginsToSerialize={}",
        refused=_NO_PLUGINS,
    ),
    "tiling": Option(
        about="how hard to look for tilings that stay in the L2 cache",
        kind="choice",
        needs="TilingOptimizationLevel.{}",
        choices={
            "none": "NONE",
            "fast": "FAST",
            "moderate": "MODERATE",
            "full": "FULL",
        },
        trtexec="--tilingOptimizationLevel={}",
    ),
    "runtime_platform": Option(
        about="the operating system that the plan runs on",
        kind="choice",
        needs="RuntimePlatform.{}",
        choices={"same": "SAME_AS_BUILD", "windows_amd64": "WINDOWS_AMD64"},
        trtexec="--runtimePlatform={}",
    ),
    "hardware": Option(
        about="compute capabilities to build for, such as 8.9,12.0",
        kind="list",
        needs="ComputeCapability.{}",
    ),
}


def parse_options(given: Mapping[str, str]) -> dict[str, Value]:
    """Read option texts into values.

    Raises:
        SpecError: no such option, or a value that it cannot have.
    """
    for name in given:
        if name not in OPTIONS:
            raise SpecError(
                f"unknown builder option {name!r}", hint=did_you_mean(name, OPTIONS)
            )
    values = {name: _parse(name, text) for name, text in given.items()}
    for name, other in _TOGETHER.items():
        if not is_off(values.get(name, False)) and is_off(values.get(other, False)):
            raise SpecError(f"option {name} needs {other} as well")
    return values


_TOGETHER = {
    "deterministic": "timing_cache",
    "exclude_lean_runtime": "version_compatible",
    "gpu_fallback": "dla_core",
    "strip_weights": "refit",
}


def _parse(name: str, text: str) -> Value:
    option = OPTIONS[name]
    if option.kind == "flag":
        return _parse_flag(name, text)
    if option.kind == "number":
        return _parse_number(name, text, option.least, option.most)
    if option.kind == "bytes":
        return _parse_bytes(name, text)
    if option.kind == "list":
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if option.kind == "choice" and text not in option.choices:
        raise SpecError(
            f"option {name} is {' or '.join(option.choices)}, got {text!r}",
            hint=did_you_mean(text, option.choices),
        )
    return text


def _parse_flag(name: str, text: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "on": True}
    words |= {"false": False, "no": False, "0": False, "off": False}
    if text.lower() not in words:
        raise SpecError(f"option {name} is true or false, got {text!r}")
    return words[text.lower()]


def _parse_number(name: str, text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise SpecError(f"option {name} is from {least} to {most}, got {text!r}")
    return int(text)


def _parse_bytes(name: str, text: str) -> int:
    number, unit = text.rstrip("kKmMgGbBi"), text.lower().rstrip("ib")[-1:]
    unit = unit if unit in "kmg" else ""
    if not number.isdecimal() or int(number) < 1:
        raise SpecError(f"option {name} is a size such as 512M or 2G, got {text!r}")
    return int(number) * _UNITS[unit]


def check_backend(values: Mapping[str, Value], backend: Backend, api: Names) -> None:
    """Refuse what a backend lacks, by name, before anything is built.

    Raises:
        SpecError: an option that the backend does not have, or has without effect.
    """
    for name, value in values.items():
        option = OPTIONS[name]
        if is_off(value):
            continue
        if reason := option.refused.get(backend):
            raise SpecError(
                f"option {name} is not for {BACKEND_NAMES[backend]}: {reason}"
            )
        for dotted in needed(name, value):
            if not has(api, dotted):
                raise SpecError(
                    f"option {name}: {BACKEND_NAMES[backend]} has no {dotted}",
                    hint=_hint(name, api),
                )


def is_off(value: Value) -> bool:
    """Say whether a value asks for nothing; 0 is a number like any other."""
    return value is False or value == ()


def needed(name: str, value: Value) -> list[str]:
    """Return what the API must have for an option to have a value."""
    option = OPTIONS[name]
    if option.kind == "choice":
        return [option.needs.format(option.choices[str(value)])]
    if name == "hardware" and isinstance(value, tuple):
        return [option.needs.format(f"SM{text.replace('.', '')}") for text in value]
    return [option.needs]


def _hint(name: str, api: Names) -> str | None:
    if name != "hardware":
        return None
    known = [n.removeprefix("SM") for n in api.get("ComputeCapability", ())]
    capabilities = [f"{n[:-1]}.{n[-1]}" for n in known if n.isdecimal()]
    if not capabilities:
        return "TensorRT builds for the GPU that it runs on"
    return f"known: {', '.join(capabilities)}"
