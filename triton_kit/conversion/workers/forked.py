"""Workers that are forked by a child which has the libraries imported already.

A conversion starts many processes, and each import of onnx and ONNX Runtime takes a
second. Forked workers share it. Where the system cannot do that, they start as usual.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from triton_kit.process import Finished, python_command, start_service, stdin_from

_PROGRAM = "triton_kit.conversion.workers.fork_server"
_MESSAGE_BYTES = 4096
_STOP_WITHIN_S = 5.0
_KILL_WITHIN_S = 10.0
_END_WITHIN_S = 10.0
# What a worker is forked, watched and killed by.
_CAN_FORK = sys.platform == "linux" and hasattr(os, "pidfd_open")


class ForkServerEndedError(Exception):
    """The program `fork_server` ended, and its workers with it.

    `finished` is how it ended, with all that it wrote.
    """

    def __init__(self, finished: Finished) -> None:
        super().__init__(finished.ending)
        self.finished = finished


@dataclass(slots=True)
class _Server:
    """The program `fork_server`, started with the first worker."""

    stack: ExitStack
    is_usable: bool = _CAN_FORK
    requests: socket.socket | None = None
    process: subprocess.Popen[bytes] | None = None
    log: int = -1

    def submit(self, module: str, files: list[int], env: Mapping[str, str]) -> bool:
        """Let it fork a worker with these files; say whether it runs."""
        if not self.is_usable:
            return False
        try:
            if self.requests is None:
                self.requests = self._start(env)
            socket.send_fds(self.requests, [module.encode()], files)
        except OSError:  # it was killed
            self.is_usable = False
        return self.is_usable

    def _start(self, env: Mapping[str, str]) -> socket.socket:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.stack.enter_context(ours)
        self.log = os.memfd_create("fork-server-log")  # the disk may be full
        self.stack.callback(os.close, self.log)
        with its:
            self.process = self.stack.enter_context(
                start_service(
                    python_command("-m", _PROGRAM, str(its.fileno())),
                    log=Path(f"/proc/self/fd/{self.log}"),
                    stop_within_s=_STOP_WITHIN_S,
                    # A thread of telemetry would be in no worker.
                    env=dict(env) | {"ORT_DISABLE_TELEMETRY": "1"},
                    pass_fds=(its.fileno(),),
                )
            )
        return ours

    def ended(self) -> ForkServerEndedError:
        """Return how it ended; it closed its sockets, so it has, or is about to."""
        assert self.process is not None  # it had requests
        self.is_usable = False
        code: int | None = None
        with suppress(subprocess.TimeoutExpired):
            code = self.process.wait(_END_WITHIN_S)
        text = os.pread(self.log, os.fstat(self.log).st_size, 0)
        return ForkServerEndedError(Finished(code, "", text.decode(errors="replace")))


_server: ContextVar[_Server | None] = ContextVar("fork_server", default=None)


@contextmanager
def preloaded_workers() -> Iterator[None]:
    """Fork the workers that are started in here from one child, where they may be."""
    with ExitStack() as stack:
        token = _server.set(_server.get() or _Server(stack))
        try:
            yield
        finally:
            _server.reset(token)


@dataclass(slots=True)
class _Forked:
    """A forked worker, seen from the kit."""

    server: _Server
    control: socket.socket
    outputs: dict[int, bytearray]
    pid: int | None = None
    code: int | None = None
    is_lost: bool = False

    def finish(self, end_s: float) -> Finished:
        """Read what it writes until it ends; kill it and its children at `end_s`.

        Raises:
            ForkServerEndedError: the server ended first.
        """
        is_late = False
        with selectors.DefaultSelector() as selector:
            for source in (self.control.fileno(), *self.outputs):
                selector.register(source, selectors.EVENT_READ)
            while selector.get_map():
                left_s = None if is_late else max(0, end_s - time.monotonic())
                ready = [key.fd for key, _ in selector.select(left_s)]
                is_out_of_time = not is_late and time.monotonic() >= end_s
                if is_out_of_time and self.control.fileno() not in ready:
                    is_late = self.code is None
                    self.kill()
                    if self.pid is None or not is_late:
                        break  # it never began, or an heir keeps its output open
                for source in ready:
                    if not self._read(source):
                        selector.unregister(source)
        if self.is_lost and not is_late:
            raise self.server.ended()
        stdout, stderr = (o.decode(errors="replace") for o in self.outputs.values())
        return Finished(None if is_late else self.code, stdout, stderr)

    def _read(self, source: int) -> bool:
        """Read from what is ready; say whether there is more to come."""
        if source in self.outputs:
            chunk = os.read(source, 1 << 16)
            self.outputs[source] += chunk
            return bool(chunk)
        self._hear()
        return self.code is None

    def _hear(self) -> None:
        """Take in one message about the worker."""
        message = b""
        with suppress(ConnectionResetError):  # it ended before it read the request
            message = self.control.recv(_MESSAGE_BYTES)
        what, _, number = message.decode().partition(" ")
        if what == "pid":
            self.pid = int(number)
            return
        # No word: the server ended, and the kernel killed the worker with it.
        self.is_lost = what != "code"
        self.code = -signal.SIGKILL if self.is_lost else int(number)
        self.kill()  # its own children may still run, and would keep its output open

    def kill(self) -> None:
        """Kill it with its children; its process id is its own while `control` is."""
        if self.pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill it, and wait for that, unless it has ended."""
        self.control.settimeout(_KILL_WITHIN_S)
        with suppress(OSError):
            while self.pid is not None and self.code is None:
                self.kill()
                self._hear()


@contextmanager
def start_forked(
    module: str, request: str, *, deadline_s: float, env: Mapping[str, str]
) -> Iterator[Callable[[], Finished] | None]:
    """Fork a worker and yield what waits for its end, as `start_child` does.

    That raises ForkServerEndedError if the server ends first.
    Yields None outside of `preloaded_workers`, and where no server runs.
    """
    end_s, server = time.monotonic() + deadline_s, _server.get()
    if server is None:
        yield None
        return
    with ExitStack() as stack:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stack.enter_context(ours)
        with its, stdin_from(request) as stdin, ExitStack() as ends:
            pipes = [_pipe(stack, ends) for _ in ("stdout", "stderr")]
            files = [its.fileno(), stdin.fileno(), *(write for _, write in pipes)]
            is_started = server.submit(module, files, env)
        if not is_started:
            yield None
            return
        forked = _Forked(server, ours, {read: bytearray() for read, _ in pipes})
        stack.callback(forked.end)
        yield lambda: forked.finish(end_s)


def _pipe(reads: ExitStack, writes: ExitStack) -> tuple[int, int]:
    read, write = os.pipe()
    reads.callback(os.close, read)
    writes.callback(os.close, write)
    return read, write
