"""Tensors in system shared memory: requests then carry places instead of bytes."""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from triton_kit.errors import ServerError, SpecError, TritonKitError

if TYPE_CHECKING:
    from triton_kit.perf.control import Control
    from triton_kit.perf.model import ModelInfo

_FOLDER = Path("/dev/shm")
_ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Place:
    """Where one tensor lies."""

    region: str
    offset: int
    size: int

    def parameters(self) -> dict[str, str | int]:
        """Return what a request says in place of the tensor's bytes."""
        return {
            "shared_memory_region": self.region,
            "shared_memory_offset": self.offset,
            "shared_memory_byte_size": self.size,
        }


class SharedMemory:
    """One region, shared with a server on this machine, for inputs and outputs.

    Place what the requests need, then `register`. Equal inputs share a place, and so
    do the outputs of all requests: the harness does not read them.
    """

    def __init__(self, control: Control, *, output_bytes: int) -> None:
        self._control = control
        self._output_bytes = output_bytes
        self._name = f"triton-kit-perf-{os.getpid()}-{secrets.token_hex(4)}"
        self._path = _FOLDER / self._name
        self._size = 0
        self._file = -1
        self._is_registered = False
        self._inputs: dict[bytes, Place] = {}  # by their digest
        self._outputs: dict[str, Place] = {}

    def __enter__(self) -> Self:
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
        try:
            self._file = os.open(self._path, flags, 0o600)
        except OSError as error:
            raise SpecError(
                f"no shared memory here: {self._path}: {error.strerror}"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        os.close(self._file)
        self._path.unlink(missing_ok=True)
        if self._is_registered:
            with suppress(TritonKitError):  # a server that is gone has let go too
                self._control.unregister_memory(self._name)

    def place_input(self, data: bytes) -> Place:
        """Write a tensor into the region.

        Raises:
            SpecError: the machine's shared memory is full.
        """
        digest = hashlib.sha256(data).digest()
        if place := self._inputs.get(digest):
            return place
        place = self._inputs[digest] = self._take(len(data))
        try:
            written = 0
            while written < len(data):
                at = place.offset + written
                written += os.pwrite(self._file, data[written:], at)
        except OSError as error:
            raise SpecError(
                f"{len(data)} bytes do not fit into {_FOLDER}: {error.strerror}",
                hint="a container has 64 MB of it: --shm-size",
            ) from error
        return place

    def place_outputs(self, model: ModelInfo, batch_size: int) -> dict[str, Place]:
        """Return the place of each output; none where outputs stay in the answers.

        Raises:
            SpecError: an output needs more room than there is.
        """
        if self._outputs or not self._output_bytes:
            return self._outputs
        for tensor in model.outputs:
            item_bytes = tensor.dtype.item_bytes
            shape = model.request_shape(tensor.shape, batch_size)
            if item_bytes is None or min(shape, default=0) < 0:
                continue
            needed = item_bytes
            for size in shape:
                needed *= size
            if needed > self._output_bytes:
                raise SpecError(
                    f"output {tensor.name!r} takes {needed} bytes, its place in shared "
                    f"memory has {self._output_bytes}",
                    hint=f"--output-shared-memory-size {needed}",
                )
        self._outputs = {t.name: self._take(self._output_bytes) for t in model.outputs}
        return self._outputs

    def register(self) -> None:
        """Make the region known to the server.

        Raises:
            ServerError: it cannot open the region.
        """
        os.ftruncate(self._file, max(self._size, 1))
        try:
            self._control.register_memory(self._name, f"/{self._name}", self._size)
        except ServerError as error:
            raise ServerError(
                f"the server cannot share memory with this process: {error.message}",
                hint="both must be on one machine; with containers: --ipc=host",
            ) from error
        self._is_registered = True
        # The server has mapped it; without a name, nothing can stay behind.
        self._path.unlink()

    def _take(self, size: int) -> Place:
        place = Place(self._name, self._size, size)
        self._size += -(-size // _ALIGNMENT) * _ALIGNMENT
        return place
