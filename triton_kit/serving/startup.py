"""A server that starts, until every model is ready or one of them never will be."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from triton_kit.errors import RepositoryError, ServerError, did_you_mean
from triton_kit.process import tail
from triton_kit.serving.access import ANY_ADDRESS, LOOPBACK
from triton_kit.serving.flags import restricted_apis
from triton_kit.serving.keys import key_headers, read_or_make_key
from triton_kit.serving.readiness import (
    hung_model,
    models_in,
    reasons_in_log,
    start_failure,
    still_loading,
    tidy,
    unready,
)
from triton_kit.serving.server import Server
from triton_kit.serving.spec import ServeSpec
from triton_kit.serving.spec_checks import ALL_MODELS
from triton_kit.triton.control_http import HttpControl
from triton_kit.triton.releases import Release

_POLL_S = 0.02
# What a Python model's process says if /dev/shm is full.
_FULL_MEMORY = re.compile(
    "No space left on device|Failed to increase the shared memory pool size|Bus error"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One attempt at a start, with the ports that it will try to take.

    Attributes:
        ports: by the name of their flag, without dashes.
        backend: what serves ONNX models, in words; "" in a container.
        key: of the control APIs; "" where they need none.
        container, image: its name and image; "" for a process of this machine.
        shm_bytes: size of the container's /dev/shm.
    """

    spec: ServeSpec
    models: tuple[str, ...]
    ports: dict[str, int]
    argv: list[str]
    log: Path
    key: str
    key_file: Path | None
    backend: str = ""
    container: str = ""
    image: str = ""
    shm_bytes: int = 0
    began_s: float = field(default_factory=time.monotonic)

    @property
    def http_url(self) -> str:
        """Where its HTTP endpoint responds."""
        return f"http://{_reachable(self.spec.access.address)}:{self._port('http')}"

    @property
    def control(self) -> HttpControl:
        """Its control API, with the key."""
        return HttpControl(self.http_url, headers=key_headers(self.key))

    @property
    def grpc_url(self) -> str:
        """Where its gRPC endpoint responds, as gRPC writes it."""
        return f"{_reachable(self.spec.access.address)}:{self._port('grpc')}"

    @property
    def metrics_url(self) -> str:
        """Where Prometheus reads its metrics."""
        address = _reachable(self.spec.access.metrics_address)
        return f"http://{address}:{self._port('metrics')}/metrics"

    def server(self, process: subprocess.Popen[bytes]) -> Server:
        """Return the server that it became."""
        return Server(
            http_url=self.http_url,
            grpc_url=self.grpc_url,
            metrics_url=self.metrics_url,
            version=self.control.server().version,
            models=self.models,
            onnxruntime_backend=self.backend,
            ready_after_s=time.monotonic() - self.began_s,
            log=self.log,
            process=process,
            key_file=self.key_file,
            key=self.key,
            container=self.container,
            image=self.image,
        )

    def _port(self, kind: str) -> int:
        return self.ports[f"{kind}-port"]


def _reachable(address: str) -> str:
    """Return the address that a client on this machine uses, as URLs write it."""
    if address in (ANY_ADDRESS, "::"):
        return LOOPBACK
    return f"[{address}]" if ":" in address else address


def control_key(
    spec: ServeSpec, release: Release, default: Path
) -> tuple[str, Path | None]:
    """Return the key of the control APIs and its file; ("", None) if none needs one.

    `default` is where a new key is written if the spec names no file.
    """
    if not restricted_apis(spec, release):
        return "", None
    path = spec.access.key_file or default
    return read_or_make_key(path), path.absolute()


def wanted_models(spec: ServeSpec) -> tuple[str, ...]:
    """Return the models that the server is to load.

    Raises:
        RepositoryError: a repository is missing or has no model, or lacks a named one.
    """
    found = tuple(n for path in spec.repositories for n in models_in(path))
    if spec.model_control != "explicit" or ALL_MODELS in spec.models:
        return tuple(dict.fromkeys(found))
    for model in spec.models:
        if model not in found:
            where = ", ".join(map(str, spec.repositories))
            raise RepositoryError(
                f"no model {model!r} in {where}; its models: {', '.join(found)}",
                hint=did_you_mean(model, found),
            )
    return spec.models


def wait_until_ready(
    process: subprocess.Popen[bytes],
    launch: Launch,
    *,
    deadline_s: float,
    has_opened: Callable[[], bool],
    explain_end: Callable[[], Exception],
) -> Server:
    """Return the server once every model is ready.

    Args:
        process: the server, or the program that runs its container.
        launch: what was started.
        deadline_s: when to give up, on the monotonic clock.
        has_opened: whether the server itself listens on its ports.
        explain_end: the error for a process that ended.

    Raises:
        ServerError: a model cannot load, or not all were ready in time.
    """
    while True:
        if process.poll() is not None:
            raise explain_end()
        if has_opened() and _models_are_ready(launch):
            return launch.server(process)
        if hung := hung_model(launch.log, launch.models):
            model, why = hung
            raise ServerError(f"model {model!r} did not load: {why}")
        if time.monotonic() > deadline_s:
            raise _late(launch)
        time.sleep(_POLL_S)


def _late(launch: Launch) -> ServerError:
    within = f"not ready after {launch.spec.ready_within_s:g} s"
    if loading := still_loading(launch.log):
        return ServerError(
            f"tritonserver was {within}: still loading {', '.join(loading)}",
            hint="large models load slowly: allow more time with --timeout",
        )
    return ServerError(f"tritonserver was {within}\n{tail(launch.log)}")


def _models_are_ready(launch: Launch) -> bool:
    """Whether all are; raises for the first that will never be."""
    try:
        index = launch.control.index()
    except ServerError as error:
        if reason := start_failure(launch.log):
            raise ServerError(f"tritonserver did not start: {reason}") from error
        raise
    waiting = unready(launch.models, index)
    hopeless = {
        name: entry
        for name, entry in waiting.items()
        if entry is None or entry.state in ("", "UNAVAILABLE")
    }
    if not hopeless:
        return not waiting
    logged = reasons_in_log(launch.log)
    reasons = {
        name: tidy((entry.reason if entry else "") or logged.get(name, ""))
        or "Triton gives no reason"
        for name, entry in hopeless.items()
    }
    lines = [f"model {name!r} did not load: {why}" for name, why in reasons.items()]
    raise ServerError(
        "\n".join(lines), hint=hint_for(launch, " ".join(reasons.values()))
    )


def hint_for(launch: Launch, reasons: str) -> str | None:
    """Return what to do about the reasons of models that did not load."""
    if launch.container and _FULL_MEMORY.search(reasons):
        size = max(1, launch.shm_bytes >> 20)
        return (
            f"/dev/shm of the container has {size} MB, and each instance of a Python "
            f"model can take 64 MB or more: --shm-size {max(256, 2 * size)}m"
        )
    if "unable to find backend library" in reasons and not launch.container:
        return (
            "the embedded server has the backends onnxruntime and python; others "
            "run in NVIDIA's container"
        )
    if "has kind KIND_GPU but" in reasons:
        return "KIND_AUTO takes a GPU where there is one, else the CPU"
    if "ModuleNotFoundError" in reasons:
        where = "in the image" if launch.container else f"on {sys.executable}"
        return (
            f"Python models run {where}: install what they import there, "
            "or let the project pack it: requirements: requirements.txt"
        )
    return None
