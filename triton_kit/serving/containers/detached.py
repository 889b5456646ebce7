"""Servers in containers that outlive the command that started them."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any  # Any: JSON of the engine

from triton_kit.errors import ServerError, SpecError, did_you_mean
from triton_kit.files import cache_folder, make_cache
from triton_kit.process import run_child, start_service
from triton_kit.serving.containers.container import (
    EXIT_MARGIN_S,
    Container,
    container_environment,
    run_command,
)
from triton_kit.serving.containers.engine import Engine
from triton_kit.serving.containers.failures import engine_failed, explain_container_end
from triton_kit.serving.containers.launcher import (
    Check,
    ContainerOptions,
    accept,
    has_opened,
    prepare,
)
from triton_kit.serving.ports import choose_ports
from triton_kit.serving.spec import ServeSpec
from triton_kit.serving.startup import (
    Launch,
    control_key,
    wait_until_ready,
    wanted_models,
)
from triton_kit.serving.workspace import workspace

_LABEL = "triton-kit.server"
_START_WITHIN_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachedServer:
    """A server that runs in a container, found by its name.

    Attributes:
        name: of the container.
        state: as the engine has it: `running`, `exited`, `dead`.
        image: of the container.
        release: of Triton.
        http_url, grpc_url, metrics_url: as a `Server` has them.
        models: those that it was asked to load.
        key_file: holds the key of the control APIs; "" where they need none.
        stop_within_s: how long requests in flight may take at the end.
    """

    name: str
    state: str
    image: str
    release: str
    http_url: str
    grpc_url: str
    metrics_url: str
    models: tuple[str, ...]
    key_file: str
    stop_within_s: float


def start_detached(
    spec: ServeSpec, options: ContainerOptions, *, check: Check = accept
) -> DetachedServer:
    """Start a server in a container, and return once every model is ready.

    If it does not become ready, its container is removed.

    Raises:
        TritonKitError: as `running_container` does.
    """
    models = wanted_models(spec)
    engine, container = prepare(spec, options, check)
    with workspace() as folder:
        ports = choose_ports(spec.ports)
        key, key_file = control_key(
            spec, container.release, _key_folder() / container.name
        )
        launch = Launch(
            spec=spec,
            models=models,
            ports=ports,
            argv=[],
            image=container.image,
            log=folder / "tritonserver.log",
            key=key,
            key_file=key_file,
            container=container.name,
            shm_bytes=container.shm_bytes,
        )
        server = _describe(launch, container)
        container = replace(container, labels={_LABEL: json.dumps(asdict(server))})
        argv = run_command(spec, container, ports, models=models, detached=True)
        try:
            _run(argv, launch, container)
            _await_models(engine, launch, container)
        except BaseException:
            engine.remove(container.name)
            _forget_key(server)
            raise
    return server


def _describe(launch: Launch, container: Container) -> DetachedServer:
    return DetachedServer(
        name=container.name,
        state="running",
        image=container.image,
        release=container.release.release,
        http_url=launch.http_url,
        grpc_url=launch.grpc_url,
        metrics_url=launch.metrics_url,
        models=launch.models,
        key_file=str(launch.key_file or ""),
        stop_within_s=launch.spec.stop_within_s,
    )


def _run(argv: list[str], launch: Launch, container: Container) -> None:
    environment = os.environ | container_environment(launch.spec, launch.key)
    done = run_child(argv, deadline_s=_START_WITHIN_S, env=environment)
    if done.exit_code != 0:
        raise engine_failed(done.stderr, done.exit_code, launch, container)


def _await_models(engine: Engine, launch: Launch, container: Container) -> None:
    """Wait until every model is ready; the log is followed meanwhile."""
    follow = [engine.program, "logs", "--follow", container.name]
    with start_service(follow, log=launch.log, stop_within_s=1.0) as process:
        wait_until_ready(
            process,
            launch,
            deadline_s=time.monotonic() + launch.spec.ready_within_s,
            has_opened=lambda: has_opened(launch),
            explain_end=lambda: explain_container_end(
                _exit_code(engine, container.name), launch, container
            ),
        )


def list_servers(engine: Engine) -> tuple[DetachedServer, ...]:
    """Return every detached server of the kit that the engine has, oldest first."""
    form = f'{{{{.State}}}} {{{{.Label "{_LABEL}"}}}}'
    done = engine.ask("ps", "--all", "--filter", f"label={_LABEL}", "--format", form)
    rows = (line.split(" ", 1) for line in reversed(done.stdout.splitlines()))
    return tuple(_from_label(json.loads(text), state) for state, text in rows)


def find_server(engine: Engine, name: str) -> DetachedServer:
    """Return one detached server; "" is the only one.

    Raises:
        SpecError: there is no such server, or several and none was named.
    """
    servers = list_servers(engine)
    names = [server.name for server in servers]
    if not names:
        raise SpecError(
            "no server of the kit runs in a container",
            hint="triton-kit serve REPOSITORY --launcher docker --detach",
        )
    if not name and len(names) > 1:
        raise SpecError(
            f"{len(names)} servers run", hint=f"name one: {', '.join(names)}"
        )
    if name and name not in names:
        raise SpecError(f"no server {name!r}", hint=did_you_mean(name, names))
    return servers[names.index(name) if name else 0]


def stop_server(engine: Engine, server: DetachedServer) -> None:
    """Stop a detached server, with time for requests in flight, and remove it.

    Raises:
        ServerError: the engine cannot stop it.
    """
    grace_s = math.ceil(server.stop_within_s + EXIT_MARGIN_S)
    done = engine.ask(
        *("stop", "--time", str(grace_s), server.name), within_s=grace_s + 30
    )
    engine.remove(server.name)
    if engine.inspect(server.name):
        raise ServerError(
            f"{engine.program} cannot remove container {server.name}: {done.stderr}"
        )
    _forget_key(server)


def log_command(engine: Engine, server: DetachedServer, *, follow: bool) -> list[str]:
    """Return the command that prints the log of a server."""
    words = ["--follow"] if follow else []
    return [engine.program, "logs", *words, server.name]


def _from_label(fields: Mapping[str, Any], state: str) -> DetachedServer:
    return DetachedServer(
        **{**fields, "state": state, "models": tuple(fields["models"])}
    )


def _key_folder() -> Path:
    folder = cache_folder() / "keys"
    make_cache(folder)
    return folder


def _forget_key(server: DetachedServer) -> None:
    """Remove the key of a server, unless the user named its file."""
    path = Path(server.key_file)
    if server.key_file and path.parent == cache_folder() / "keys":
        path.unlink(missing_ok=True)


def _exit_code(engine: Engine, name: str) -> int:
    found = engine.inspect(name)
    return int(found["State"]["ExitCode"]) if found else 1
