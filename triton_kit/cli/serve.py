"""`triton-kit serve`: a repository on the embedded server until Ctrl-C."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: what click hands over

import click

from triton_kit.cli.command import kit_command

if TYPE_CHECKING:
    from triton_kit.serving.embedded import Server
    from triton_kit.serving.spec import ServeSpec

_PORT = click.IntRange(1, 65535)


@kit_command()
@click.argument("repository", type=click.Path(path_type=Path))
@click.option("--http-port", type=_PORT, help="Default: a free port.")
@click.option("--grpc-port", type=_PORT, help="Default: a free port.")
@click.option("--metrics-port", type=_PORT, help="Default: a free port.")
@click.option(
    "--model-control-mode",
    "model_control",
    type=click.Choice(["none", "explicit", "poll"]),
    default="none",
    show_default=True,
    help="none: load all. explicit: load on demand. poll: follow changes.",
)
@click.option(
    "--load-model",
    "models",
    metavar="MODEL",
    multiple=True,
    help="With explicit: load this one at the start ('*': all). Repeatable.",
)
@click.option(
    "--strict-model-config",
    is_flag=True,
    help="Take each config.pbtxt as it is: fill nothing in.",
)
@click.option(
    "--ready-within",
    "ready_within_s",
    type=float,
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up when the models are not ready by then.",
)
@click.option(
    "--stop-within",
    "stop_within_s",
    type=float,
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="What requests in flight may take when it stops.",
)
@click.option(
    "--allocator",
    type=click.Choice(["system", "tcmalloc", "jemalloc"]),
    default="system",
    show_default=True,
    help="What the server allocates memory with. tcmalloc saves it CPU.",
)
@click.option(
    "--log",
    type=click.Path(path_type=Path),
    help="Keep the server's log there. Default: gone when the server is.",
)
@click.option(
    "--flag",
    "flags",
    metavar="--NAME=VALUE",
    multiple=True,
    help="Any other flag of tritonserver, as --flag=--NAME=VALUE. Repeatable.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="One line of JSON on stdout when ready."
)
def command(*, as_json: bool, **fields: Any) -> None:  # noqa: ANN401
    """Serve REPOSITORY on this machine until Ctrl-C.

    Starts the embedded tritonserver on loopback and prints its endpoints once every
    model is ready.
    """
    from triton_kit.serving.spec import ServeSpec

    spec = ServeSpec(**fields)
    _serve_until_stopped(spec, as_json=as_json)


def _serve_until_stopped(spec: ServeSpec, *, as_json: bool) -> None:
    from triton_kit.serving.embedded import running

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with running(spec) as server:
            click.echo(
                "warning: the embedded server is Triton 24.10, which has published "
                "CVEs: for development, on loopback only",
                err=True,
            )
            # Last: whoever reads it may use the server, or stop it, at once.
            click.echo(_as_json(server) if as_json else _as_text(server))
            server.wait()
    except KeyboardInterrupt:
        click.echo("stopped", err=True)


def _as_json(server: Server) -> str:
    return json.dumps(
        {
            "http_url": server.http_url,
            "grpc_url": server.grpc_url,
            "metrics_url": server.metrics_url,
            "version": server.version,
            "pid": server.pid,
            "models": server.models,
            "ready_after_s": round(server.ready_after_s, 3),
            "log": str(server.log),
        }
    )


def _as_text(server: Server) -> str:
    return "\n".join(
        [
            f"tritonserver {server.version}, ready after {server.ready_after_s:.1f} s",
            f"  http     {server.http_url}",
            f"  grpc     {server.grpc_url}",
            f"  metrics  {server.metrics_url}",
            f"  models   {', '.join(server.models) or 'none loaded yet'}",
            f"  log      {server.log}",
            "Ctrl-C stops it.",
        ]
    )
