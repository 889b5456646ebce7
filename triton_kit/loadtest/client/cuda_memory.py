"""A region of a GPU's memory, shared with a server on the same machine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from triton_kit.errors import ServerError, SpecError
from triton_kit.loadtest.client.cuda_runtime import (
    CudaError,
    CudaRuntime,
    find_cuda_runtime,
)

if TYPE_CHECKING:
    from triton_kit.loadtest.client.control import MemoryControl


class CudaRegion:
    """Keeps what is written until its size is known, then moves it to the GPU."""

    def __init__(
        self,
        control: MemoryControl,
        *,
        find: Callable[[], CudaRuntime] = find_cuda_runtime,
    ) -> None:
        self._control = control
        self._find = find
        self._runtime: CudaRuntime | None = None
        self._address = 0
        self._written: list[tuple[int, bytes]] = []

    def __enter__(self) -> Self:
        self._runtime = self._find()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        if self._runtime is not None and self._address:
            with suppress(CudaError):  # the process gives it back at its end anyway
                self._runtime.free(self._address)

    def write(self, offset: int, data: bytes) -> None:
        """Note what goes where."""
        self._written.append((offset, data))

    def share(self, name: str, size: int) -> None:
        """Move everything to the GPU, and have the server open it there."""
        assert self._runtime is not None
        try:
            self._address = self._runtime.allocate(max(size, 1))
            for offset, data in self._written:
                self._runtime.upload(self._address + offset, data)
            handle = self._runtime.handle(self._address)
        except CudaError as error:
            raise SpecError(f"{size} bytes of GPU memory to share: {error}") from error
        self._written.clear()
        try:
            self._control.register_cuda_memory(
                name, handle, self._runtime.device, max(size, 1)
            )
        except ServerError as error:
            raise ServerError(
                f"the server cannot share GPU memory with this process: "
                f"{error.message}",
                hint="both must see the same GPU as their first; "
                "with containers: --ipc=host --pid=host",
            ) from error

    def withdraw(self, name: str) -> None:
        """Have the server close it."""
        self._control.unregister_cuda_memory(name)
