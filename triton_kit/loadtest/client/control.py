"""Questions to the server, whatever protocol they travel by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from triton_kit.errors import ServerError, SpecError, did_you_mean
from triton_kit.triton.model import ModelInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """Name and version of the server, as it says itself."""

    name: str
    version: str


class Control(Protocol):
    """Asks who the server is, what a model takes, and what the server counted."""

    def server(self) -> ServerInfo:
        """Return what server this is.

        Raises:
            TransportError: nobody listens there, or somebody who speaks otherwise.
        """

    def model(self, name: str, version: str = "") -> ModelInfo:
        """Return what the model says of itself, once it is known to be ready.

        Raises:
            SpecError: the server has no such model.
            ServerError: the model is there but not ready.
        """

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

    def statistics(self, name: str, version: str = "") -> list[dict[str, Any]]:
        """Return the server's own counters as JSON, one entry per loaded version."""


def explain_absence(
    index: Sequence[Mapping[str, Any]], name: str, version: str
) -> None:
    """Raise what fits a model that is not ready, from the repository's index."""
    wanted = f"{name!r} version {version}" if version else repr(name)
    for entry in index:
        if entry["name"] == name and version in ("", entry.get("version")):
            state = entry.get("state", "not loaded")
            reason = entry.get("reason") or "the server gives no reason"
            raise ServerError(
                f"model {wanted} is not ready: {state}, {reason}",
                hint="the server's log says why a model failed to load",
            )
    known = {entry["name"] for entry in index}
    if name in known:
        versions = [e.get("version", "?") for e in index if e["name"] == name]
        raise SpecError(
            f"the server has no model {wanted}",
            hint=f"versions of {name!r}: {', '.join(versions)}",
        )
    raise SpecError(
        f"the server has no model {wanted}",
        hint=did_you_mean(name, known) if known else "it has no models at all",
    )
