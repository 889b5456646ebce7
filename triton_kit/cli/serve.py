"""`triton-kit serve`: a repository on the embedded server until Ctrl-C."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn  # Any: what click hands over

import click

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import PATH_TO_WRITE, json_option, repositories_argument
from triton_kit.cli.output import echo, echo_json_line, notice, warn
from triton_kit.cli.server_options import server_spec, with_server_options

if TYPE_CHECKING:
    from triton_kit.serving.server import Server
    from triton_kit.serving.spec import ServeSpec


@kit_command(
    examples=(
        "triton-kit serve my-project --http-port 8000 --grpc-port 8001",
        "triton-kit serve --model-control-mode explicit --load-model digits",
    )
)
@repositories_argument("The model repositories to serve.")
@with_server_options(
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
        "--log",
        type=PATH_TO_WRITE,
        metavar="FILE",
        help="Write the server's log to this file. Default: a temporary file.",
    ),
    json_option("Print one line of JSON with the addresses when the server is ready."),
)
def command(*, repositories: tuple[Path, ...], as_json: bool, **fields: Any) -> None:  # noqa: ANN401
    """Serve REPOSITORIES on this machine until Ctrl-C.

    Starts the embedded tritonserver on 127.0.0.1. Prints its addresses once every model
    is ready, and keeps this terminal until Ctrl-C.
    """
    _serve_until_stopped(server_spec(repositories, fields), as_json=as_json)


class _StoppedError(KeyboardInterrupt):
    """A signal asked the command to stop; no handler of errors may stop it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def _stop(number: int, _: FrameType | None) -> NoReturn:
    raise _StoppedError(number)


def _serve_until_stopped(spec: ServeSpec, *, as_json: bool) -> None:
    """Serve until a signal: exit code 0 if the server was ready by then."""
    from triton_kit.serving.embedded import running

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    is_ready = False
    notice(
        f"starting tritonserver with the models in "
        f"{', '.join(map(str, spec.repositories))}"
    )
    try:
        with running(spec) as server:
            warn(
                "the embedded server is Triton 24.10, which has published CVEs: use it "
                "for development only"
            )
            is_ready = True
            # Last: a client that reads the addresses may use or stop the server now.
            if as_json:
                echo_json_line(_facts(server))
            else:
                echo(_as_text(server))
            server.wait()
    except _StoppedError as stopped:
        notice("stopped" if is_ready else "stopped before the models were ready")
        raise click.exceptions.Exit(0 if is_ready else stopped.exit_code) from None
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
            f"  onnx     {server.onnxruntime_backend}",
            f"  log      {server.log}",
            *key,
            "Ctrl-C stops it.",
        ]
    )
