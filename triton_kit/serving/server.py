"""A server that runs: the same object, whichever launcher started it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from triton_kit.errors import ServerError, TransportError
from triton_kit.serving.crashes import server_died
from triton_kit.serving.keys import key_headers
from triton_kit.triton.control_http import HttpControl

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
        onnxruntime_backend: native, or python and why; "" in a container, whose image
            has its own.
        ready_after_s: from its start to the last model ready.
        log: its output.
        key_file: holds the key of the control APIs; None where they need none.
        key: that key.
        container, image: the name of its container, and its image; "" for a process of
            this machine.
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
    key_file: Path | None = None
    key: str = field(default="", repr=False)
    container: str = ""
    image: str = ""

    @property
    def pid(self) -> int:
        """The process id of the server; of a container, of the program that runs it."""
        return self.process.pid

    @property
    def control(self) -> HttpControl:
        """Its control API over HTTP, with the key."""
        return HttpControl(self.http_url, headers=key_headers(self.key))

    def wait(self) -> None:
        """Block for as long as the server runs.

        Raises:
            ServerError: it ended, which it should not do by itself.
        """
        self.process.wait()
        raise _died(self)


def in_use(server: Server) -> Iterator[Server]:
    """Yield it; that it died is the reason of whatever then fails in its use."""
    try:
        yield server
    except TransportError as error:
        if not _ends(server.process):
            raise
        raise _died(server) from error
    except ServerError:
        raise
    except Exception as error:
        if server.process.poll() is not None:
            died = _died(server)
            error.add_note(str(died))
        raise
    if server.process.poll() is not None:
        raise _died(server)


def _died(server: Server) -> ServerError:
    return server_died(server.process.wait(), server.log, "while it was in use")


def _ends(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has ended, or does: its connections close before it is gone."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(_DYING_S)
    return process.poll() is not None
