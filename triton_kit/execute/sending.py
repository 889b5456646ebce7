"""Files onto the nodes of a Ray cluster: each once to a machine, by its digest."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from triton_kit.execute.store import Store

# Waits for what a call of an actor returns. Ray's actors and references have no types.
Wait = Callable[[Any], Any]
# A file costs a round trip; on their way together, several cost little more than one.
_FILES_AT_ONCE = 8


class FileSender:
    """Sends files of this machine to actors; each enters the cluster once."""

    def __init__(self, ray: ModuleType, contents: Mapping[str, Path]) -> None:
        self._ray, self._contents = ray, contents
        self._sent: dict[str, Any] = {}

    def send(self, host: Any, wait: Wait) -> None:  # noqa: ANN401
        """Send an actor the files that its machine lacks.

        Args:
            host: an actor with the methods of `FileReceiver`.
            wait: returns the value of a reference, or raises what became of the call.
        """
        on_their_way = deque[Any]()
        for digest in wait(host.missing.remote(list(self._contents))):
            if digest not in self._sent:
                content = self._contents[digest].read_bytes()
                self._sent[digest] = self._ray.put(content)
            if len(on_their_way) == _FILES_AT_ONCE:
                wait(on_their_way.popleft())
            on_their_way.append(host.receive_file.remote(digest, self._sent[digest]))
        for file in on_their_way:
            wait(file)


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
