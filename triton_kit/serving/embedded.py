"""The real Triton server as a child process on loopback, for development and CI."""

from __future__ import annotations

import logging
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from triton_kit.errors import ServerError, SpecError
from triton_kit.files import cache_folder
from triton_kit.process import start_service, tail
from triton_kit.serving.access import LOOPBACK
from triton_kit.serving.allocator import preload
from triton_kit.serving.backend_directory import compose_backend_directory
from triton_kit.serving.crashes import BACKEND_CRASH, server_died
from triton_kit.serving.flags import ENDPOINTS, Place, server_flags
from triton_kit.serving.memory import new_prefix, private_memory, remove_regions
from triton_kit.serving.onnxruntime_backend import choose_onnxruntime_backend
from triton_kit.serving.ports import are_opened_by, choose_ports, port_in_use
from triton_kit.serving.server import Server, in_use
from triton_kit.serving.spec import ServeSpec
from triton_kit.serving.startup import (
    Launch,
    control_key,
    wait_until_ready,
    wanted_models,
)
from triton_kit.serving.tritonserver import find_tritonserver
from triton_kit.serving.workspace import note_memory, workspace
from triton_kit.triton.releases import find_release

_log = logging.getLogger(__name__)

RELEASE = "24.10"
_PLAIN_PATH = re.compile(r"[\w./@%+=:,-]+")
# Triton's own exit needs some time beyond what in-flight requests are given.
EXIT_MARGIN_S = 10.0


@dataclass(frozen=True, slots=True)
class _Program:
    """The installed server: how its command line begins, its environment, its backend.

    `backend` is what serves ONNX models, in words.
    """

    argv: list[str]
    environment: dict[str, str]
    backend: str


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
    release = find_release(RELEASE)
    models = wanted_models(spec)
    program = _find_program(spec)
    deadline_s = time.monotonic() + spec.ready_within_s
    has_crashed = False
    with workspace() as folder:
        log = (spec.log and spec.log.absolute()) or folder / "tritonserver.log"
        key, key_file = control_key(spec, release, folder / "control-key")
        paths = _link_odd_paths(spec, folder)
        while True:
            ports = choose(spec.ports)
            prefix = new_prefix()
            note_memory(folder, prefix)
            place = Place(
                ports={kind: ports[f"{kind}-port"] for kind in ENDPOINTS},
                key=key,
                paths=paths,
                memory_prefix=prefix,
            )
            launch = Launch(
                spec=spec,
                models=models,
                ports=ports,
                argv=[*program.argv, *server_flags(spec, release, place)],
                backend=program.backend,
                log=log,
                key=key,
                key_file=key_file,
            )
            try:
                # In a folder of its own: Python models import from the one they run
                # in first (24.10), whatever lies around there.
                with _launched(launch, program.environment, prefix, folder) as process:
                    server = _until_ready(process, launch, deadline_s)
                    yield from in_use(server)
                    return
            except _PortLostError as lost:
                if spec.ports[lost.name] is not None or time.monotonic() > deadline_s:
                    raise port_in_use(lost.name, lost.port) from lost
            except _StartCrashedError as crashed:
                if has_crashed:
                    raise crashed.died from None
                has_crashed = True


def command_line(spec: ServeSpec, key: str) -> tuple[dict[str, str], list[str]]:
    """Return what the server is started with: the variables that matter, and argv.

    Args:
        spec: what to serve.
        key: stands for the key of the control APIs.

    Raises:
        TritonKitError: as `running` does before it starts the server.
    """
    wanted_models(spec)
    for repository in spec.repositories:
        if not _PLAIN_PATH.fullmatch(str(repository.absolute())):
            raise SpecError(
                f"{repository.absolute()}: tritonserver does not load Python models "
                "from a path with such characters",
                hint="print the command for a path of letters, digits and ./@%+=:,-_",
            )
    program, ports = _find_program(spec), choose_ports(spec.ports)
    place = Place(ports={kind: ports[f"{kind}-port"] for kind in ENDPOINTS}, key=key)
    given = {text.partition("=")[0] for text in spec.variables}
    names = {"LD_LIBRARY_PATH", "LD_PRELOAD", "PATH", *given}
    environment = {n: v for n, v in program.environment.items() if n in names and v}
    flags = server_flags(spec, find_release(RELEASE), place)
    return environment, [*program.argv, *flags]


def _link_odd_paths(spec: ServeSpec, folder: Path) -> dict[Path, str]:
    """Return links to the repositories whose path a shell would take apart.

    The Python backend (24.10) gives a shell that path without quotes, and then waits
    for its process for ever.
    """
    links = {}
    for number, repository in enumerate(spec.repositories):
        if not _PLAIN_PATH.fullmatch(str(repository.absolute())):
            link = folder / f"repository-{number}"
            link.symlink_to(repository.absolute())
            links[repository] = str(link)
    return links


def _find_program(spec: ServeSpec) -> _Program:
    _check_addresses(spec)
    tritonserver = find_tritonserver()
    environment = tritonserver.environment(
        preload=preload(spec.allocator), variables=spec.variables
    )
    cache = cache_folder()
    onnxruntime = choose_onnxruntime_backend(spec.onnxruntime_backend, cache=cache)
    backends = compose_backend_directory(
        tritonserver, cache=cache, native=onnxruntime.library
    )
    argv = [
        str(tritonserver.binary),
        f"--backend-directory={backends}",
        f"--cache-directory={tritonserver.caches}",
        *onnxruntime.flags,
    ]
    return _Program(argv, environment, str(onnxruntime))


@contextmanager
def _launched(
    launch: Launch, env: Mapping[str, str], prefix: str, cwd: Path
) -> Iterator[subprocess.Popen[bytes]]:
    stop_within_s = launch.spec.stop_within_s + EXIT_MARGIN_S
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


def _until_ready(
    process: subprocess.Popen[bytes], launch: Launch, deadline_s: float
) -> Server:
    return wait_until_ready(
        process,
        launch,
        deadline_s=deadline_s,
        has_opened=lambda: are_opened_by(process.pid, launch.ports.values()),
        explain_end=lambda: _explain_end(process, launch),
    )


def _explain_end(process: subprocess.Popen[bytes], launch: Launch) -> Exception:
    text = tail(launch.log)
    for name, port in launch.ports.items():
        if f":{port}' already in use" in text:
            return _PortLostError(name, port)
    died = server_died(process.wait(), launch.log, "before it was ready")
    return _StartCrashedError(died) if died.hint == BACKEND_CRASH else died


def _check_addresses(spec: ServeSpec) -> None:
    for address in (spec.access.address, spec.access.metrics_address):
        if address != LOOPBACK:
            raise SpecError(
                f"address {address}: the embedded server listens on {LOOPBACK} only, "
                f"as Triton {RELEASE} has published CVEs",
                hint="use --launcher docker for a server that others reach",
            )
