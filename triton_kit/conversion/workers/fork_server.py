"""The program that forks workers: libraries are imported once, not by each worker.

    python -P -m triton_kit.conversion.workers.fork_server SOCKET

Each message on the socket names a module of `worker.py` and carries four files: a
socket for what becomes of the worker, its stdin, stdout and stderr. The module is
imported here, then a worker is forked. It is a process of its own, in a session of its
own: it may crash, and it ends with this program.

A worker says `pid N` once it leads its session. This program says `code N` at its end,
and keeps its process id until the socket is closed, so that the id stays safe to kill.
"""

from __future__ import annotations

import ctypes
import gc
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from triton_kit.conversion.workers import worker

FILES = 4
MESSAGE_BYTES = 4096
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15


def main() -> None:
    """Serve until the socket is closed; in a worker, do its work."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    sys.argv[1:] = [ForkServer(requests).serve()]
    worker.main()


@dataclass(frozen=True, slots=True)
class _Worker:
    pid: int
    pidfd: int
    control: socket.socket


class ForkServer:
    """Forks workers, and tells how they end."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._workers: set[_Worker] = set()
        self._selector = selectors.DefaultSelector()
        self._selector.register(requests, selectors.EVENT_READ)

    def serve(self) -> str:
        """Fork a worker for each request; return in workers only, with the module."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._requests:
                    module = self._fork()
                    if module is not None:
                        return module
                elif key.data in self._workers:
                    if key.fileobj == key.data.pidfd:
                        self._report(key.data)
                    else:
                        self._forget(key.data)

    def _fork(self) -> str | None:
        """Fork a worker; return its module in the worker, None here."""
        data, files, _, _ = socket.recv_fds(self._requests, MESSAGE_BYTES, FILES)
        if not data:  # the kit ended, and the kernel ends the workers with this
            os._exit(0)
        module, server = data.decode(), os.getpid()
        with suppress(Exception):  # the worker says what its module raises
            import_module(module)
        gc.freeze()  # a collection in a worker would copy the memory of all objects
        try:
            pid = os.fork()
        except OSError as error:
            _refuse(files, f"cannot fork a worker: {error.strerror}")
            return None
        if pid == 0:
            self._become_worker(module, server, files)
            return module
        control = socket.socket(fileno=files[0])
        for file in files[1:]:
            os.close(file)
        found = _Worker(pid, os.pidfd_open(pid), control)
        self._workers.add(found)
        for source in (found.pidfd, found.control):
            self._selector.register(source, selectors.EVENT_READ, found)
        return None

    def _become_worker(self, module: str, server: int, files: list[int]) -> None:
        os.setsid()
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:
            os._exit(1)
        prctl(_PR_SET_NAME, module.rpartition(".")[2].encode())
        self._selector.close()
        self._requests.close()
        for other in self._workers:
            other.control.close()
            os.close(other.pidfd)
        with socket.socket(fileno=files[0]) as control, suppress(OSError):
            control.send(f"pid {os.getpid()}".encode())
        for number, file in enumerate(files[1:]):
            os.dup2(file, number)
            os.close(file)
        if _has_threads(server):
            _exec(module)

    def _report(self, worker: _Worker) -> None:
        """Say how a worker ended; it stays a zombie, so that its id is not reused."""
        self._selector.unregister(worker.pidfd)
        ended = os.waitid(os.P_PIDFD, worker.pidfd, os.WEXITED | os.WNOWAIT)
        assert ended is not None  # its pidfd is ready
        is_exit = ended.si_code == os.CLD_EXITED
        code = ended.si_status if is_exit else -ended.si_status
        with suppress(OSError):
            worker.control.send(f"code {code}".encode())

    def _forget(self, worker: _Worker) -> None:
        """End a worker that the kit asks no more about, with its own children."""
        with suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGKILL)
            os.killpg(worker.pid, signal.SIGKILL)
        os.waitpid(worker.pid, 0)
        self._workers.remove(worker)
        self._selector.unregister(worker.control)
        with suppress(KeyError):
            self._selector.unregister(worker.pidfd)
        worker.control.close()
        os.close(worker.pidfd)


def _refuse(files: list[int], why: str) -> None:
    """Let a request end as a worker that wrote a line and failed."""
    with socket.socket(fileno=files[0]) as control, suppress(OSError):
        os.write(files[-1], f"{why}\n".encode())
        control.send(b"code 1")
    for file in files[1:]:
        os.close(file)


def _has_threads(server: int) -> bool:
    """Whether a library started threads in the server: a fork has locks of theirs."""
    return len(list(Path(f"/proc/{server}/task").iterdir())) > 1


def _exec(module: str) -> NoReturn:
    argv = [sys.executable, "-P", "-m", worker.__name__, module]
    os.execv(sys.executable, argv)


if __name__ == "__main__":
    main()
