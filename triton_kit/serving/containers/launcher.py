"""A Triton server in a container: started, ready, stopped and removed."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

import psutil

from triton_kit.errors import ServerError, SpecError, TransportError
from triton_kit.process import start_service
from triton_kit.serving.containers.container import (
    EXIT_MARGIN_S,
    Container,
    container_environment,
    run_command,
)
from triton_kit.serving.containers.engine import Engine, find_engine, image_release
from triton_kit.serving.containers.failures import explain_container_end
from triton_kit.serving.containers.readable import require_readable
from triton_kit.serving.containers.shared_memory import shared_memory_bytes
from triton_kit.serving.ports import choose_ports
from triton_kit.serving.server import Server, in_use
from triton_kit.serving.spec import ServeSpec
from triton_kit.serving.startup import (
    Launch,
    control_key,
    wait_until_ready,
    wanted_models,
)
from triton_kit.serving.workspace import workspace
from triton_kit.triton.releases import Release, all_releases, find_release

_log = logging.getLogger(__name__)

# `docker run` itself needs some time for what the engine does.
_ENGINE_MARGIN_S = 10.0
_OWNER_LABEL = "triton-kit.owner"
Check = Callable[[Release], None]


def accept(_: Release) -> None:
    """Check nothing: the server itself refuses what it cannot load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOptions:
    """What the user says of a container.

    Attributes:
        engine: `docker` or `podman`.
        release: of Triton; "" is that of the image, or the newest one.
        image: "" is NVIDIA's image of the release.
        gpus: see `Container`.
        shm_bytes: size of /dev/shm; None is computed from the models.
        name: of the container; "" is a new one.
    """

    engine: str = "docker"
    release: str = ""
    image: str = ""
    gpus: tuple[str, ...] = ()
    shm_bytes: int | None = None
    name: str = ""


def describe_container(spec: ServeSpec, options: ContainerOptions) -> Container:
    """Return the container of a spec, as far as it is known without the engine.

    Raises:
        SpecError: the image, release or GPUs are none.
    """
    release = find_release(options.release or all_releases()[-1].release)
    count = 1 if options.gpus == ("all",) else len(options.gpus)
    wanted = options.shm_bytes
    return Container(
        name=options.name or f"triton-kit-{secrets.token_hex(4)}",
        release=release,
        image=options.image or release.image,
        engine=options.engine,
        gpus=options.gpus,
        shm_bytes=wanted or shared_memory_bytes(spec.repositories, gpus=count),
        labels={},
    )


@contextmanager
def running_container(
    spec: ServeSpec, options: ContainerOptions, *, check: Check = accept
) -> Iterator[Server]:
    """Start a server in a container, yield it once every model is ready, remove it.

    The container ends with this process, however that ends: the kernel ends the
    engine's program, which hands the signal on. Containers of kits that were killed
    together with that program are removed by the next start.

    Args:
        spec: what to serve; its allocator and onnxruntime backend are those of the
            image.
        options: in which container.
        check: refuses what the release would not load, before anything is started.

    Raises:
        RepositoryError: there is no model to serve.
        SpecError: the release lacks a flag, or is not that of the image.
        ServerError: there is no engine or image, a port is in use, the container or
            the server did not start, or a model did not load.
    """
    models = wanted_models(spec)
    engine, container = prepare(spec, options, check)
    container = replace(container, labels={_OWNER_LABEL: _this_process()})
    deadline_s = time.monotonic() + spec.ready_within_s
    with workspace() as folder:
        key, key_file = control_key(spec, container.release, folder / "control-key")
        ports = choose_ports(spec.ports)
        launch = Launch(
            spec=spec,
            models=models,
            ports=ports,
            argv=run_command(spec, container, ports, models=models),
            image=container.image,
            log=(spec.log and spec.log.absolute()) or folder / "tritonserver.log",
            key=key,
            key_file=key_file,
            container=container.name,
            shm_bytes=container.shm_bytes,
        )
        environment = os.environ | container_environment(spec, key)
        with _launched(launch, engine, environment) as process:
            server = _until_ready(process, launch, container, deadline_s)
            yield from in_use(server)


def prepare(
    spec: ServeSpec, options: ContainerOptions, check: Check
) -> tuple[Engine, Container]:
    """Return engine and container, once all that the start needs is there.

    Raises:
        SpecError: the release is not that of the image, or its user cannot read a file.
        ServerError: there is no engine or image.
    """
    container = describe_container(spec, options)
    require_readable((*spec.repositories, *spec.access.tls_files.values()))
    engine = find_engine(options.engine)
    _remove_orphans(engine)
    if engine.inspect(container.name):
        raise SpecError(
            f"--name {container.name}: there is a container of this name",
            hint=f"triton-kit stop {container.name}, or choose another name",
        )
    container = settle_release(engine, container, options)
    check(container.release)
    return engine, container


def settle_release(
    engine: Engine, container: Container, options: ContainerOptions
) -> Container:
    """Return the container with the release that its image says it is.

    Raises:
        SpecError: another release was given.
        ServerError: the image is not here, and cannot be pulled.
    """
    stated = image_release(engine.require_image(container.image))
    if stated and options.release and stated != container.release.release:
        raise SpecError(
            f"image {container.image} is Triton {stated}, and release "
            f"{container.release.release} was given",
            hint=f"--release {stated}",
        )
    if stated and not options.release:
        container = replace(container, release=find_release(stated))
    return container


@contextmanager
def _launched(
    launch: Launch, engine: Engine, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    stop_within_s = launch.spec.stop_within_s + EXIT_MARGIN_S + _ENGINE_MARGIN_S
    try:
        with start_service(
            launch.argv, log=launch.log, stop_within_s=stop_within_s, env=environment
        ) as process:
            _log.debug("container %s; log %s", launch.container, launch.log)
            yield process
    finally:
        engine.remove(launch.container)


def _until_ready(
    process: subprocess.Popen[bytes],
    launch: Launch,
    container: Container,
    deadline_s: float,
) -> Server:
    return wait_until_ready(
        process,
        launch,
        deadline_s=deadline_s,
        has_opened=lambda: has_opened(launch),
        explain_end=lambda: explain_container_end(process.wait(), launch, container),
    )


def has_opened(launch: Launch) -> bool:
    """Whether the server in the container responds; the engine accepts before it."""
    try:
        launch.control.server()
    except (TransportError, ServerError):
        return False
    return True


def _this_process() -> str:
    """Return what identifies this process on every machine that uses the engine."""
    began = psutil.Process().create_time()
    return f"{socket.gethostname()}/{os.getpid()}/{began:.2f}"


def _remove_orphans(engine: Engine) -> None:
    """Remove the containers whose kit was killed, with the engine's program."""
    form = f'{{{{.ID}}}} {{{{.Label "{_OWNER_LABEL}"}}}}'
    done = engine.ask(
        *("ps", "--all", "--filter", f"label={_OWNER_LABEL}", "--format", form)
    )
    for line in done.stdout.splitlines():
        name, _, owner = line.partition(" ")
        if not _is_alive(owner):
            _log.info("removing container %s, whose kit was killed", name)
            engine.remove(name)


def _is_alive(owner: str) -> bool:
    """Whether the process that started a container runs, or may run elsewhere."""
    host, _, rest = owner.rpartition("/")[0].partition("/")
    if host != socket.gethostname():
        return True
    with suppress(psutil.NoSuchProcess, ValueError):
        began = psutil.Process(int(rest)).create_time()
        return f"{began:.2f}" == owner.rpartition("/")[2]
    return False
