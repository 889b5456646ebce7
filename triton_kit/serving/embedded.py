"""The real Triton server as a child process on loopback, for development and CI."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from triton_kit.errors import (
    RepositoryError,
    ServerError,
    TransportError,
    did_you_mean,
)
from triton_kit.process import start_service, tail
from triton_kit.serving.allocator import preload
from triton_kit.serving.backend_directory import cache_folder, compose_backend_directory
from triton_kit.serving.crashes import BACKEND_CRASH, server_died
from triton_kit.serving.memory import new_prefix, private_memory, remove_regions
from triton_kit.serving.onnxruntime_backend import (
    OnnxruntimeBackend,
    choose_onnxruntime_backend,
)
from triton_kit.serving.ports import LOOPBACK, are_opened_by, choose_ports, port_in_use
from triton_kit.serving.readiness import (
    hung_model,
    models_in,
    reasons_in_log,
    start_failure,
    still_loading,
    tidy,
    unready,
)
from triton_kit.serving.spec import ALL_MODELS, ServeSpec
from triton_kit.serving.tritonserver import find_tritonserver
from triton_kit.serving.workspace import note_memory, workspace
from triton_kit.triton.control_http import HttpControl

_log = logging.getLogger(__name__)

_POLL_S = 0.02
# Triton's own exit needs some time beyond what in-flight requests are given.
_EXIT_MARGIN_S = 10.0
# One that crashes first writes its stack to the log.
_DYING_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that runs, with every model of its spec ready.

    Attributes:
        http_url: `http://127.0.0.1:PORT`.
        grpc_url: `127.0.0.1:PORT`, as gRPC writes it.
        metrics_url: `http://127.0.0.1:PORT/metrics`.
        version: what the server says it is (`2.51.0`).
        models: the models it was asked to load.
        onnxruntime_backend: native, or python and why.
        ready_after_s: from its start to the last model ready.
        log: its output.
    """

    http_url: str
    grpc_url: str
    metrics_url: str
    version: str
    models: tuple[str, ...]
    onnxruntime_backend: str
    ready_after_s: float
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return self.process.pid

    def wait(self) -> None:
        """Block for as long as the server runs.

        Raises:
            ServerError: it ended, which it should not do by itself.
        """
        self.process.wait()
        raise server_died(self.process, self.log, "while it was in use")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Launch:
    """One attempt at a start, with the ports it will try to take."""

    spec: ServeSpec
    models: tuple[str, ...]
    ports: dict[str, int]
    argv: list[str]
    onnxruntime: OnnxruntimeBackend
    log: Path
    began_s: float = field(default_factory=time.monotonic)

    @property
    def http_url(self) -> str:
        return f"http://{LOOPBACK}:{self.ports['http-port']}"


class _PortLostError(Exception):
    """Another process took a port between the check and the server's start."""

    def __init__(self, name: str, port: int) -> None:
        super().__init__(name, port)
        self.name, self.port = name, port


class _StartCrashedError(Exception):
    """The Python backend crashed while the models loaded: by bad luck, mostly."""

    def __init__(self, died: ServerError) -> None:
        super().__init__(died)
        self.died = died


@contextmanager
def running(
    spec: ServeSpec,
    *,
    choose: Callable[[dict[str, int | None]], dict[str, int]] = choose_ports,
) -> Iterator[Server]:
    """Start a server, yield it once every model is ready, stop it on the way out.

    Nothing of it stays behind: no process, no shared memory. A wanted port is looked
    at before the start; a chosen port that another process takes while the models
    load costs a new start, as long as `ready_within_s` allows. So does, once, a crash
    of the Python backend while they load.

    Args:
        spec: what to serve.
        choose: from wanted ports (None: any) to ports, by the name of their flag.

    Raises:
        RepositoryError: there is no model to serve.
        MissingExtraError: no tritonserver is installed.
        ServerError: its allocator is not installed, the native onnxruntime backend
            was asked for and does not work here, it did not start, a model did not
            load, or it died in use.
    """
    models = _wanted_models(spec)
    tritonserver = find_tritonserver()
    environment = tritonserver.environment(
        preload=preload(spec.allocator), variables=spec.variables
    )
    cache = cache_folder()
    onnxruntime = choose_onnxruntime_backend(spec.onnxruntime_backend, cache=cache)
    backends = compose_backend_directory(
        tritonserver, cache=cache, native=onnxruntime.library
    )
    deadline_s = time.monotonic() + spec.ready_within_s
    has_crashed = False
    with workspace() as folder:
        log = (spec.log and spec.log.absolute()) or folder / "tritonserver.log"
        while True:
            ports = choose(spec.ports)
            prefix = new_prefix()
            note_memory(folder, prefix)
            argv = [
                str(tritonserver.binary),
                f"--backend-directory={backends}",
                f"--cache-directory={tritonserver.caches}",
                *onnxruntime.flags,
                *_flags(spec, ports, prefix),
            ]
            launch = _Launch(
                spec=spec,
                models=models,
                ports=ports,
                argv=argv,
                onnxruntime=onnxruntime,
                log=log,
            )
            try:
                # In a folder of its own: Python models import from the one they run
                # in first (24.10), whatever lies around there.
                with _launched(launch, environment, prefix, folder) as process:
                    server = _wait_until_ready(process, launch, deadline_s)
                    yield from _in_use(server)
                    return
            except _PortLostError as lost:
                if spec.ports[lost.name] is not None or time.monotonic() > deadline_s:
                    raise port_in_use(lost.name, lost.port) from lost
            except _StartCrashedError as crashed:
                if has_crashed:
                    raise crashed.died from None
                has_crashed = True


@contextmanager
def _launched(
    launch: _Launch, env: dict[str, str], prefix: str, cwd: Path
) -> Iterator[subprocess.Popen[bytes]]:
    stop_within_s = launch.spec.stop_within_s + _EXIT_MARGIN_S
    try:
        with (
            private_memory(prefix),
            start_service(
                launch.argv,
                log=launch.log,
                stop_within_s=stop_within_s,
                env=env,
                cwd=cwd,
            ) as process,
        ):
            _log.debug("tritonserver is process %d; log %s", process.pid, launch.log)
            yield process
    finally:
        remove_regions(prefix)


def _in_use(server: Server) -> Iterator[Server]:
    """Yield it; that it died is the reason of whatever then fails in its use."""
    try:
        yield server
    except TransportError as error:
        if not _ends(server.process):
            raise
        raise server_died(server.process, server.log, "while it was in use") from error
    except ServerError:
        raise
    except Exception as error:
        if server.process.poll() is not None:
            died = server_died(server.process, server.log, "while it was in use")
            error.add_note(str(died))
        raise
    if server.process.poll() is not None:
        raise server_died(server.process, server.log, "while it was in use")


def _ends(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended, or does: its connections close before it is gone."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(_DYING_S)
    return process.poll() is not None


def _wanted_models(spec: ServeSpec) -> tuple[str, ...]:
    if spec.model_control == "explicit" and ALL_MODELS not in spec.models:
        if spec.models:
            _check_present(spec.models, spec.repository)
        return spec.models
    return models_in(spec.repository)


def _check_present(wanted: tuple[str, ...], repository: Path) -> None:
    found = models_in(repository)
    for model in wanted:
        if model not in found:
            raise RepositoryError(
                f"no model {model!r} in {repository}; its models: {', '.join(found)}",
                hint=did_you_mean(model, found),
            )


def _flags(spec: ServeSpec, ports: dict[str, int], prefix: str) -> list[str]:
    flags = [
        f"--model-repository={spec.repository.absolute()}",
        # One failed model must not end the request for all: its reason is read.
        "--exit-on-error=false",
        f"--exit-timeout-secs={max(1, round(spec.stop_within_s))}",
        f"--model-control-mode={spec.model_control}",
        f"--backend-config=python,shm-region-prefix-name={prefix}",
        *(f"--{kind}-address={LOOPBACK}" for kind in ("http", "grpc", "metrics")),
        *(f"--{name}={port}" for name, port in ports.items()),
        # They have no address to set.
        *(f"--allow-{name}=false" for name in ("sagemaker", "vertex-ai")),
        *(f"--load-model={model}" for model in spec.models),
    ]
    if spec.strict_model_config:
        flags.append("--disable-auto-complete-config")
    return [*flags, *spec.flags]


def _wait_until_ready(
    process: subprocess.Popen[bytes], launch: _Launch, deadline_s: float
) -> Server:
    while True:
        if process.poll() is not None:
            _raise_if_port_lost(launch)
            died = server_died(process, launch.log, "before it was ready")
            if died.hint == BACKEND_CRASH:
                raise _StartCrashedError(died)
            raise died
        if are_opened_by(process.pid, launch.ports.values()) and _models_are_ready(
            launch
        ):
            return _server(process, launch)
        if hung := hung_model(launch.log, launch.models):
            model, why = hung
            raise ServerError(f"model {model!r} did not load: {why}")
        if time.monotonic() > deadline_s:
            raise _late(launch)
        time.sleep(_POLL_S)


def _late(launch: _Launch) -> ServerError:
    within = f"not ready after {launch.spec.ready_within_s:g} s"
    if loading := still_loading(launch.log):
        return ServerError(
            f"tritonserver was {within}: still loading {', '.join(loading)}",
            hint="large models load slowly: allow more time with --timeout",
        )
    return ServerError(f"tritonserver was {within}\n{tail(launch.log)}")


def _models_are_ready(launch: _Launch) -> bool:
    """Whether all are; raises for the first that will never be."""
    try:
        index = HttpControl(launch.http_url).index()
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
    raise ServerError("\n".join(lines), hint=_hint(" ".join(reasons.values())))


def _hint(reasons: str) -> str | None:
    if "unable to find backend library" in reasons:
        return (
            "the embedded server has the backends onnxruntime and python; others "
            "run in NVIDIA's container"
        )
    if "has kind KIND_GPU but" in reasons:
        return "KIND_AUTO takes a GPU where there is one, else the CPU"
    if "ModuleNotFoundError" in reasons:
        return (
            f"Python models run on {sys.executable}: install what they import there, "
            "or let the project pack it: requirements: requirements.txt"
        )
    return None


def _server(process: subprocess.Popen[bytes], launch: _Launch) -> Server:
    return Server(
        http_url=launch.http_url,
        grpc_url=f"{LOOPBACK}:{launch.ports['grpc-port']}",
        metrics_url=f"http://{LOOPBACK}:{launch.ports['metrics-port']}/metrics",
        version=HttpControl(launch.http_url).server().version,
        models=launch.models,
        onnxruntime_backend=str(launch.onnxruntime),
        ready_after_s=time.monotonic() - launch.began_s,
        log=launch.log,
        process=process,
    )


def _raise_if_port_lost(launch: _Launch) -> None:
    text = tail(launch.log)
    for name, port in launch.ports.items():
        if f":{port}' already in use" in text:
            raise _PortLostError(name, port)
