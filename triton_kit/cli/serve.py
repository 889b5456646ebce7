"""`triton-kit serve`: a repository on a server of this machine until Ctrl-C."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn  # Any: what click hands over

import click
import cloup

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.container_options import (
    OWN_FIELDS,
    container_options,
    refuse_other_options,
    with_container_options,
)
from triton_kit.cli.options import PATH_TO_WRITE, json_option, repositories_argument
from triton_kit.cli.output import echo, echo_json_line, notice, warn
from triton_kit.cli.server_options import server_spec, with_server_options
from triton_kit.cli.transfer_options import local_repositories, verify_key_option
from triton_kit.errors import SpecError

if TYPE_CHECKING:
    from triton_kit.serving.containers.launcher import ContainerOptions
    from triton_kit.serving.server import Server
    from triton_kit.serving.spec import ServeSpec


@kit_command(
    examples=(
        "triton-kit serve my-project --http-port 8000 --grpc-port 8001",
        "triton-kit serve --model-control-mode explicit --load-model digits",
        "triton-kit serve --launcher docker --release 26.07 --gpus all",
    )
)
@repositories_argument(
    "The model repositories to serve, or addresses of them in object stores.",
    stores=True,
)
@with_server_options(
    kit_option(
        "--log",
        type=PATH_TO_WRITE,
        metavar="FILE",
        help="Write the server's log to this file. Default: a temporary file.",
    ),
    json_option("Print one line of JSON with the addresses when the server is ready."),
)
@cloup.option_group(
    "Embedded server",
    kit_option(
        "--allocator",
        type=click.Choice(["system", "tcmalloc", "jemalloc"]),
        default="system",
        help="Memory allocator of the server; tcmalloc needs less CPU per request.",
    ),
    kit_option(
        "--onnxruntime-backend",
        type=click.Choice(["auto", "native", "python"]),
        default="auto",
        help="native: in C, compiled once by cc. auto: native if that works, else "
        "python.",
    ),
    kit_option(
        "--watch",
        "watches",
        is_flag=True,
        help="Load what changes in the repositories; keep the old model if it does not "
        "load.",
    ),
)
@verify_key_option("Serve only what this key signed: minisign's public key.")
@with_container_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    repositories: tuple[Path | str, ...],
    verify_key: str | None,
    launcher: str,
    detach: bool,
    only_print: bool,
    **rest: Any,  # noqa: ANN401
) -> None:
    """Serve REPOSITORIES on this machine until Ctrl-C.

    Starts the embedded tritonserver, or a container with one, on 127.0.0.1. Prints its
    addresses once every model is ready, and keeps this terminal until Ctrl-C.
    """
    refuse_other_options(ctx, launcher)
    stores = [place for place in repositories if isinstance(place, str)]
    if stores and (detach or only_print):
        raise SpecError(
            f"{stores[0]}: is in the cache only while this command runs",
            hint=f"triton-kit pull {stores[0]} -o model_repository",
        )
    rest |= {"launcher": launcher, "detach": detach, "only_print": only_print}
    with local_repositories(repositories, verify_key) as folders:
        # Bytecode is unsigned, and no part of what was pulled.
        variables = ("PYTHONDONTWRITEBYTECODE=1",) if stores or verify_key else ()
        _serve(folders, variables, **rest)


def _serve(
    repositories: tuple[Path, ...],
    added_variables: tuple[str, ...],
    *,
    as_json: bool,
    launcher: str,
    detach: bool,
    only_print: bool,
    watches: bool,
    **fields: Any,  # noqa: ANN401
) -> None:
    options = container_options(**{name: fields.pop(name) for name in OWN_FIELDS})
    spec = server_spec(repositories, fields)
    spec = replace(spec, variables=(*spec.variables, *added_variables))
    if launcher == "docker":
        spec = _limited(spec, options)
    if watches:
        from triton_kit.watch import watched_spec

        spec = watched_spec(spec)
    if only_print and launcher == "docker":
        _print_container(spec, options)
    elif only_print:
        _print_process(spec)
    elif detach:
        _detach(spec, options, as_json=as_json)
    else:
        use = _watch(spec) if watches else _wait
        start = _opener(spec, options, launcher)
        _serve_until_stopped(start, spec, use=use, as_json=as_json)


def _limited(spec: ServeSpec, options: ContainerOptions) -> ServeSpec:
    """Return the spec with the limit of requests that its models' shapes give."""
    from triton_kit.launch import with_request_limit
    from triton_kit.serving.containers.launcher import describe_container

    return with_request_limit(spec, describe_container(spec, options).release)


def _opener(
    spec: ServeSpec, options: ContainerOptions, launcher: str
) -> Callable[[], AbstractContextManager[Server]]:
    """Return what starts the server."""
    if launcher == "embedded":
        from triton_kit.serving.embedded import running

        return lambda: running(spec)
    from triton_kit.launch import repository_check
    from triton_kit.serving.containers.launcher import running_container

    check = repository_check(spec, gpus=len(options.gpus))
    return lambda: running_container(spec, options, check=check)


def _print_process(spec: ServeSpec) -> None:
    from triton_kit.serving.containers.container import KEY_VARIABLE
    from triton_kit.serving.embedded import command_line

    variable = f"${KEY_VARIABLE}"
    environment, argv = command_line(spec, variable)
    if any(variable in word for word in argv):
        notice(f"set {KEY_VARIABLE} to the key of the control APIs")
    words = [f"{name}={shlex.quote(value)}" for name, value in environment.items()]
    # The shell fills in the key, which has no characters of its own there.
    words += [f'"{w}"' if variable in w else shlex.quote(w) for w in argv]
    echo(" \\\n  ".join(words))


def _print_container(spec: ServeSpec, options: ContainerOptions) -> None:
    from triton_kit.serving.containers.container import (
        KEY_VARIABLE,
        as_shell,
        run_command,
    )
    from triton_kit.serving.containers.launcher import describe_container
    from triton_kit.serving.ports import choose_ports
    from triton_kit.serving.startup import wanted_models

    container = describe_container(spec, options)
    ports = choose_ports(spec.ports)
    argv = run_command(spec, container, ports, models=wanted_models(spec))
    if KEY_VARIABLE in argv:
        notice(f"set {KEY_VARIABLE} to the key of the control APIs")
    echo(as_shell(argv, container.image))


def _detach(spec: ServeSpec, options: ContainerOptions, *, as_json: bool) -> None:
    from triton_kit.launch import repository_check
    from triton_kit.serving.containers.detached import start_detached

    notice(f"starting a container with the models in {_places(spec)}")
    check = repository_check(spec, gpus=len(options.gpus))
    server = start_detached(spec, options, check=check)
    if as_json:
        echo_json_line(asdict(server))
        return
    key = f"\n  key      {server.key_file}" if server.key_file else ""
    echo(
        f"tritonserver of {server.release} in container {server.name}\n"
        f"  http     {server.http_url}\n  grpc     {server.grpc_url}\n"
        f"  metrics  {server.metrics_url}\n  models   {', '.join(server.models)}{key}\n"
        f"'triton-kit stop {server.name}' stops it."
    )


def _wait(_: ServeSpec, server: Server) -> None:
    server.wait()


def _watch(spec: ServeSpec) -> Callable[[ServeSpec, Server], None]:
    """Return what watches, from the state that the repositories have now."""
    from triton_kit.watch import Watcher, folder_states

    before = folder_states(spec)

    def watch(spec: ServeSpec, server: Server) -> None:
        notice(f"watching {_places(spec)}")
        for change in Watcher(spec=spec, server=server, before=before).watch():
            if change.outcome == "kept":
                warn(f"{change.model}: the server keeps what it has: {change.reason}")
            else:
                notice(f"{change.outcome} {change.model}")

    return watch


class _StoppedError(KeyboardInterrupt):
    """A signal asked the command to stop; no handler of errors may stop it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def _stop(number: int, _: FrameType | None) -> NoReturn:
    raise _StoppedError(number)


def _serve_until_stopped(
    start: Callable[[], AbstractContextManager[Server]],
    spec: ServeSpec,
    *,
    use: Callable[[ServeSpec, Server], None],
    as_json: bool,
) -> None:
    """Serve until a signal: exit code 0 if the server was ready by then."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    is_ready = False
    notice(f"starting tritonserver with the models in {_places(spec)}")
    try:
        with start() as server:
            _warn_of_cves(server)
            is_ready = True
            # Last: a client that reads the addresses may use or stop the server now.
            if as_json:
                echo_json_line(_facts(server))
            else:
                echo(_as_text(server))
            use(spec, server)
    except _StoppedError as stopped:
        notice("stopped" if is_ready else "stopped before the models were ready")
        raise click.exceptions.Exit(0 if is_ready else stopped.exit_code) from None
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _places(spec: ServeSpec) -> str:
    return ", ".join(map(str, spec.repositories))


def _warn_of_cves(server: Server) -> None:
    from triton_kit.triton.releases import known_release, open_cves

    if not server.container:
        warn(
            "the embedded server is Triton 24.10, which has published CVEs: use it "
            "for development only"
        )
        return
    try:
        release = known_release(server.version)
    except SpecError:
        return
    if cves := open_cves(release):
        warn(
            f"Triton {release.release} has {len(cves)} published CVEs that later "
            f"releases fix; see 'triton-kit releases {release.release}'"
        )


def _facts(server: Server) -> dict[str, Any]:
    """Return the addresses as URLs, and as `tritonclient` takes them."""
    return {
        "http_url": server.http_url,
        "grpc_url": server.grpc_url,
        "metrics_url": server.metrics_url,
        "http_address": server.http_url.removeprefix("http://"),
        "grpc_address": server.grpc_url,
        "version": server.version,
        "pid": server.pid,
        "models": server.models,
        "onnxruntime_backend": server.onnxruntime_backend,
        "container": server.container,
        "image": server.image,
        "ready_after_s": round(server.ready_after_s, 3),
        "log": str(server.log),
        "key_file": server.key_file and str(server.key_file),
    }


def _as_text(server: Server) -> str:
    key = [f"  key      {server.key_file}"] if server.key_file else []
    return "\n".join(
        [
            f"tritonserver {server.version}, ready after {server.ready_after_s:.1f} s",
            f"  http     {server.http_url}",
            f"  grpc     {server.grpc_url}",
            f"  metrics  {server.metrics_url}",
            f"  models   {', '.join(server.models) or 'none loaded yet'}",
            f"  image    {server.image}"
            if server.image
            else f"  onnx     {server.onnxruntime_backend}",
            f"  log      {server.log}",
            *key,
            "Ctrl-C stops it.",
        ]
    )
