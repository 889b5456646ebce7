"""Files onto the nodes of a Ray cluster: each once to a machine, by its digest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from triton_kit.execute.store import Store

# Ray's actors and references have no types.
Call = Callable[..., Any]


class FileSender:
    """Sends files of this machine to actors; each enters the cluster once."""

    def __init__(self, ray: ModuleType, contents: Mapping[str, Path]) -> None:
        self._ray, self._contents = ray, contents
        self._sent: dict[str, Any] = {}

    def send(self, host: Any, call: Call) -> None:  # noqa: ANN401
        """Send an actor the files that its machine lacks.

        Args:
            host: an actor with the methods of `FileReceiver`.
            call: makes a call of a method, and returns its value.
        """
        for digest in call(host.missing, list(self._contents)):
            if digest not in self._sent:
                content = self._contents[digest].read_bytes()
                self._sent[digest] = self._ray.put(content)
            call(host.receive_file, digest, self._sent[digest])


class FileReceiver:
    """The part of an actor that keeps the files of its machine."""

    def __init__(self) -> None:
        self._store = Store()
        self._store.sweep()

    def missing(self, digests: list[str]) -> list[str]:
        """Return the digests of files that this machine lacks."""
        return self._store.missing(digests)

    def receive_file(self, digest: str, content: bytes) -> None:
        """Keep a file that this machine lacked."""
        self._store.receive(digest, content)
