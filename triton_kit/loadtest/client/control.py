"""Questions to the server, whatever protocol they travel by."""

from __future__ import annotations

from typing import Any, Protocol

from triton_kit.triton.model import IndexEntry, ModelInfo, ServerInfo


class Control(Protocol):
    """Asks who the server is, what a model takes, and what the server counted."""

    def server(self) -> ServerInfo:
        """Return what server this is.

        Raises:
            TransportError: no server listens there, or one of another protocol.
        """

    def index(self) -> tuple[IndexEntry, ...]:
        """Return every model that the server knows, loaded or not."""

    def model(self, name: str, version: str = "") -> ModelInfo:
        """Return how the server describes a model, once it is known to be ready.

        Raises:
            SpecError: the server has no such model.
            ServerError: the model is there but not ready.
        """

    def statistics(self, name: str, version: str = "") -> list[dict[str, Any]]:
        """Return the server's own counters as JSON, one entry per loaded version."""


class MemoryControl(Control, Protocol):
    """Also has the server map memory that it shares with this process."""

    def register_memory(self, name: str, key: str, size: int) -> None:
        """Have the server map `size` bytes of the system's shared memory `key`.

        Raises:
            ServerError: it cannot.
        """

    def unregister_memory(self, name: str) -> None:
        """Have the server let go of it."""

    def register_cuda_memory(
        self, name: str, handle: bytes, device: int, size: int
    ) -> None:
        """Have the server open `size` bytes of a GPU's memory by its CUDA IPC handle.

        Raises:
            ServerError: it cannot.
        """

    def unregister_cuda_memory(self, name: str) -> None:
        """Have the server let go of it."""
