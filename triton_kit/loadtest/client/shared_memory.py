"""Tensors in memory shared with the server: requests carry places instead of bytes."""

from __future__ import annotations

import hashlib
import math
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from triton_kit.errors import ServerError, SpecError, TritonKitError
from triton_kit.process import hold_signals

if TYPE_CHECKING:
    from triton_kit.loadtest.client.control import MemoryControl
    from triton_kit.tensors import Tensor
    from triton_kit.triton.model import ModelInfo

_FOLDER = Path("/dev/shm")
_ALIGNMENT = 64
_DEFAULT_OUTPUT_BYTES = 102_400  # perf_analyzer's, for outputs of unknown size


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


class Region(Protocol):
    """A stretch of memory that the server can reach too; gone with its `with`."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

    def write(self, offset: int, data: bytes) -> None:
        """Put bytes into it, before it is shared; raises SpecError where it is full."""

    def share(self, name: str, size: int) -> None:
        """Make its first `size` bytes known to the server under a name.

        Raises:
            ServerError: the server cannot reach it.
        """

    def withdraw(self, name: str) -> None:
        """Have the server let go of it."""


class SystemRegion:
    """A file in this machine's shared memory; nameless once the server has it."""

    def __init__(self, control: MemoryControl) -> None:
        self._control = control
        self._path = _FOLDER / _new_name()
        self._file = -1

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

    def write(self, offset: int, data: bytes) -> None:
        """Write into the file."""
        try:
            written = 0
            while written < len(data):
                at = offset + written
                written += os.pwrite(self._file, data[written:], at)
        except OSError as error:
            raise SpecError(
                f"{len(data)} bytes do not fit into {_FOLDER}: {error.strerror}",
                hint="a container has 64 MB of it: --shm-size",
            ) from error

    def share(self, name: str, size: int) -> None:
        """Have the server map the file."""
        os.ftruncate(self._file, max(size, 1))
        try:
            self._control.register_memory(name, f"/{self._path.name}", size)
        except ServerError as error:
            raise ServerError(
                f"the server cannot share memory with this process: {error.message}",
                hint="both must be on one machine; with containers: --ipc=host",
            ) from error
        # The server has mapped it; without a name, nothing can stay behind.
        self._path.unlink()

    def withdraw(self, name: str) -> None:
        """Have the server unmap the file."""
        self._control.unregister_memory(name)


class SharedMemory:
    """One region, shared with a server on this machine, for inputs and outputs.

    Place what the requests need, then `register`. Equal inputs share a place, and so
    do the outputs of all requests: the harness does not read them.

    Args:
        region: the memory.
        output_bytes: room for each output; 0 leaves outputs in the responses. None is
            what an output of known size takes, and a default for others.
    """

    def __init__(self, region: Region, *, output_bytes: int | None) -> None:
        self._region = region
        self._output_bytes = output_bytes
        self._name = _new_name()
        self._size = 0
        self._is_registered = False
        self._inputs: dict[bytes, Place] = {}  # by their digest
        self._outputs: dict[str, Place] = {}

    def __enter__(self) -> Self:
        self._region.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        try:
            if self._is_registered:
                # A server that is gone has let go, too. One that is there keeps the
                # region for good if a second Ctrl-C ends this.
                with hold_signals(), suppress(TritonKitError):
                    self._region.withdraw(self._name)
        finally:
            self._region.__exit__(kind, error, trace)

    def place_input(self, data: bytes) -> Place:
        """Write a tensor into the region.

        Raises:
            SpecError: there is no room for it.
        """
        digest = hashlib.sha256(data).digest()
        if place := self._inputs.get(digest):
            return place
        place = self._inputs[digest] = self._take(len(data))
        self._region.write(place.offset, data)
        return place

    def place_outputs(self, model: ModelInfo, batch_size: int) -> dict[str, Place]:
        """Return the place of each output; none where outputs stay in the responses.

        Raises:
            SpecError: an output needs more room than there is.
        """
        if self._outputs or self._output_bytes == 0:
            return self._outputs
        sizes = {
            tensor.name: self._output_size(tensor, model, batch_size)
            for tensor in model.outputs
        }
        self._outputs = {name: self._take(size) for name, size in sizes.items()}
        return self._outputs

    def _output_size(self, tensor: Tensor, model: ModelInfo, batch_size: int) -> int:
        """Return the room for an output; raises SpecError where it is too little."""
        item_bytes = tensor.dtype.item_bytes
        shape = model.request_shape(tensor.shape, batch_size)
        given = self._output_bytes
        if item_bytes is None or min(shape, default=0) < 0:
            return _DEFAULT_OUTPUT_BYTES if given is None else given
        needed = item_bytes * math.prod(shape)
        if given is not None and needed > given:
            raise SpecError(
                f"output {tensor.name!r} takes {needed} bytes, its place in shared "
                f"memory has {given}",
                hint=f"--output-shared-memory-size {needed}, or leave it out",
            )
        return needed if given is None else given

    def register(self) -> None:
        """Make the region known to the server.

        Raises:
            ServerError: it cannot reach the region.
        """
        self._region.share(self._name, self._size)
        self._is_registered = True

    def _take(self, size: int) -> Place:
        place = Place(self._name, self._size, size)
        self._size += -(-size // _ALIGNMENT) * _ALIGNMENT
        return place


def _new_name() -> str:
    return f"triton-kit-perf-{os.getpid()}-{secrets.token_hex(4)}"
