"""What this machine has, what works because of it, and what to install for the rest."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from triton_kit.process import run_child

_PROBE_WITHIN_S = 10.0
_GPU_QUERY = [
    "nvidia-smi",
    "--query-gpu=name,compute_cap,memory.total,driver_version",
    "--format=csv,noheader",
]
# What to call it, the module it is, the distribution that has its version.
_PACKAGES = {
    "nvidia-pytriton": ("pytriton", "nvidia-pytriton"),
    "onnxruntime": ("onnxruntime", "onnxruntime"),
    "tensorrt": ("tensorrt", "tensorrt"),
    "tensorrt_rtx": ("tensorrt_rtx", "tensorrt-rtx-cu13"),
    "torch": ("torch", "torch"),
    "tensorflow": ("tensorflow", "tensorflow"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU, in the words of nvidia-smi."""

    name: str
    compute_capability: str
    memory: str
    driver: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What was found. A package's version is None where it is not installed."""

    python: str
    system: str
    packages: dict[str, str | None]
    gpus: tuple[Gpu, ...]
    docker: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """One thing the kit does, and whether it does it here.

    `advice` says what is missing and how to get it; empty where nothing is.
    """

    name: str
    works: bool
    advice: str = ""


def examine() -> Machine:
    """Look at this machine; nothing heavy is imported."""
    return Machine(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        packages={name: _version(*where) for name, where in _PACKAGES.items()},
        gpus=_gpus(),
        docker=_docker(),
    )


def abilities(machine: Machine) -> list[Ability]:
    """Say what works on a machine, and what each of the rest needs."""
    has = {name: version is not None for name, version in machine.packages.items()}
    gpu = bool(machine.gpus)
    return [
        Ability(name="build: ONNX models to a repository", works=True),
        Ability(name="perf: load-test a server", works=True),
        _ability(
            "serve: the real tritonserver, no GPU needed",
            (has["nvidia-pytriton"], "pip install 'triton_kit[embedded]'"),
        ),
        _ability(
            "serve: models on the GPU",
            (gpu, "a machine with an NVIDIA GPU and driver"),
            (machine.docker is not None, "a running Docker engine"),
        ),
        _ability(
            "build: TensorRT plans",
            (has["tensorrt"], "pip install 'triton_kit[tensorrt]'"),
            (gpu, "a machine with an NVIDIA GPU and driver"),
        ),
    ]


def _ability(name: str, *needs: tuple[bool, str]) -> Ability:
    missing = [advice for is_there, advice in needs if not is_there]
    return Ability(name=name, works=not missing, advice="; ".join(missing))


def _version(module: str, distribution: str) -> str | None:
    if find_spec(module) is None:
        return None
    try:
        return version(distribution)
    except PackageNotFoundError:  # a build of another name, onnxruntime-gpu say
        return "unknown"


def _gpus() -> tuple[Gpu, ...]:
    if not shutil.which(_GPU_QUERY[0]):
        return ()
    done = run_child(_GPU_QUERY, deadline_s=_PROBE_WITHIN_S)
    rows = done.stdout.splitlines() if done.exit_code == 0 else []
    cells = [[cell.strip() for cell in row.split(",")] for row in rows]
    return tuple(
        Gpu(name=row[0], compute_capability=row[1], memory=row[2], driver=row[3])
        for row in cells
        if len(row) == 4
    )


def _docker() -> str | None:
    """Return the engine's version; None without a client or an engine that answers."""
    if not shutil.which("docker"):
        return None
    argv = ["docker", "version", "--format", "{{.Server.Version}}"]
    done = run_child(argv, deadline_s=_PROBE_WITHIN_S)
    return done.stdout.strip() or None if done.exit_code == 0 else None
