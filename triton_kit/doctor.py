"""What this machine has, which features work, and what to install for the others."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from triton_kit.errors import MissingExtraError, TritonKitError
from triton_kit.files import cache_folder
from triton_kit.process import run_child
from triton_kit.serving.onnxruntime_backend import choose_onnxruntime_backend
from triton_kit.serving.tritonserver import find_tritonserver

_PROBE_WITHIN_S = 10.0
_GPU_QUERY = [
    "nvidia-smi",
    "--query-gpu=name,compute_cap,memory.total,driver_version",
    "--format=csv,noheader",
]
# Name in the report -> module, and the distribution that has its version.
_PACKAGES = {
    "nvidia-pytriton": ("pytriton", "nvidia-pytriton"),
    "numpy": ("numpy", "numpy"),
    "onnxruntime": ("onnxruntime", "onnxruntime"),
    "tensorrt": ("tensorrt", "tensorrt"),
    "tensorrt_rtx": ("tensorrt_rtx", "tensorrt-rtx-cu13"),
    "torch": ("torch", "torch"),
    "tensorflow": ("tensorflow", "tensorflow"),
}
_NEEDS_GPU = "a machine with an NVIDIA GPU and driver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU, in the words of nvidia-smi."""

    name: str
    compute_capability: str
    memory: str
    driver: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What was found.

    Attributes:
        packages: versions; None if a package is not installed.
        server_problem: why `serve` would refuse to start; empty if it would not.
        native_problem: why the onnxruntime backend in Python would serve; empty if the
            native one would.
    """

    python: str
    system: str
    packages: dict[str, str | None]
    gpus: tuple[Gpu, ...]
    docker: str | None
    server_problem: str = ""
    native_problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """One thing that the kit does, and whether it works here.

    `advice` names what is missing and how to get it; it is empty if nothing is.
    """

    name: str
    works: bool
    advice: str = ""


def examine() -> Machine:
    """Inspect this machine without importing heavy packages."""
    return Machine(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        packages={
            **{name: _version(*where) for name, where in _PACKAGES.items()},
            # The same module as onnxruntime: only the distribution tells them apart.
            "onnxruntime-gpu": _distribution("onnxruntime-gpu"),
        },
        gpus=_gpus(),
        docker=_docker(),
        server_problem=_server_problem(),
        native_problem=_native_problem(),
    )


def abilities(machine: Machine) -> list[Ability]:
    """Return which features work on a machine, and what the others need."""
    has = {name: version is not None for name, version in machine.packages.items()}
    gpu = (bool(machine.gpus), _NEEDS_GPU)
    server = (not machine.server_problem, machine.server_problem)
    return [
        Ability(name="build: ONNX models to a repository", works=True),
        Ability(name="perf: load-test a server", works=True),
        _ability("serve: the embedded tritonserver, on the CPU", server),
        _ability(
            "serve: ONNX models by the native backend, not the one in Python",
            server,
            (not machine.native_problem, machine.native_problem),
        ),
        _ability(
            "serve: ONNX models on the GPU, by the embedded tritonserver",
            server,
            gpu,
            (
                has["onnxruntime-gpu"],
                "pip uninstall onnxruntime; pip install onnxruntime-gpu",
            ),
        ),
        _ability(
            "containers: NVIDIA's Triton image with GPUs",
            gpu,
            (machine.docker is not None, "a running Docker engine"),
        ),
        _ability(
            "build: TensorRT plans",
            (has["tensorrt"], "pip install 'triton_kit[tensorrt]'"),
            gpu,
        ),
        _ability(
            "build: TensorRT for RTX engines",
            (has["tensorrt_rtx"], "pip install 'triton_kit[rtx]'"),
        ),
    ]


def _server_problem() -> str:
    """Return the error and hint with which `serve` would refuse to start."""
    try:
        find_tritonserver()
    except MissingExtraError as error:
        return error.hint or error.message
    except TritonKitError as error:
        return f"{error.message}: {error.hint}" if error.hint else error.message
    return ""


def _native_problem() -> str:
    """Return why the native onnxruntime backend would not serve; it is compiled."""
    try:
        chosen = choose_onnxruntime_backend("auto", cache=cache_folder())
    except TritonKitError as error:
        return error.message
    return chosen.why_python


def _ability(name: str, *needs: tuple[bool, str]) -> Ability:
    missing = [advice for is_there, advice in needs if not is_there]
    return Ability(name=name, works=not missing, advice="; ".join(missing))


def _version(module: str, distribution: str) -> str | None:
    if find_spec(module) is None:
        return None
    return _distribution(distribution) or "unknown"  # built under another name


def _distribution(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


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
    """Return the engine's version; None without a client or an engine that responds."""
    if not shutil.which("docker"):
        return None
    argv = ["docker", "version", "--format", "{{.Server.Version}}"]
    done = run_child(argv, deadline_s=_PROBE_WITHIN_S)
    return done.stdout.strip() or None if done.exit_code == 0 else None
