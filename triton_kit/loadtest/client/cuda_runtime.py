"""The few calls of the CUDA runtime that sharing a GPU's memory takes, by ctypes."""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
from collections.abc import Iterator
from pathlib import Path

from triton_kit.errors import SpecError

HANDLE_BYTES = 64
_HOST_TO_DEVICE = 1
_DEVICE = 0
# Below a folder of Python packages: NVIDIA's wheels, and what the embedded server has.
_IN_PACKAGES = (
    "nvidia/cuda_runtime/lib/libcudart.so.*",
    "nvidia/cu[0-9]*/lib/libcudart.so.*",
    "nvidia_pytriton.libs/libcudart*.so*",
)
_TOOLKIT = Path("/usr/local")


class CudaError(Exception):
    """A call of the CUDA runtime failed; the message is CUDA's own."""


class CudaRuntime:
    """Memory of the first GPU that CUDA_VISIBLE_DEVICES leaves."""

    def __init__(self, library: str) -> None:
        """Load the library.

        Raises:
            OSError: it cannot be loaded.
            CudaError: there is no GPU that it can use.
        """
        self._library = ctypes.CDLL(library)
        self._library.cudaGetErrorString.restype = ctypes.c_char_p
        count = ctypes.c_int()
        self._call("cudaGetDeviceCount", ctypes.byref(count))
        if not count.value:
            raise CudaError("no CUDA-capable device is detected")
        self._call("cudaSetDevice", ctypes.c_int(_DEVICE))

    @property
    def device(self) -> int:
        """The number of the GPU."""
        return _DEVICE

    def allocate(self, size: int) -> int:
        """Return the address of `size` bytes on the GPU; raises CudaError."""
        address = ctypes.c_void_p()
        self._call("cudaMalloc", ctypes.byref(address), ctypes.c_size_t(size))
        return address.value or 0

    def free(self, address: int) -> None:
        """Give memory back; raises CudaError."""
        self._call("cudaFree", ctypes.c_void_p(address))

    def upload(self, address: int, data: bytes) -> None:
        """Copy bytes to the GPU, to the last of them; raises CudaError."""
        self._call(
            "cudaMemcpy",
            ctypes.c_void_p(address),
            ctypes.c_char_p(data),
            ctypes.c_size_t(len(data)),
            ctypes.c_int(_HOST_TO_DEVICE),
        )
        self._call("cudaDeviceSynchronize")

    def handle(self, address: int) -> bytes:
        """Return what lets another process reach an allocation; raises CudaError."""
        handle = ctypes.create_string_buffer(HANDLE_BYTES)
        self._call("cudaIpcGetMemHandle", handle, ctypes.c_void_p(address))
        return handle.raw

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            text = self._library.cudaGetErrorString(ctypes.c_int(code))
            raise CudaError(f"{name}: {text.decode(errors='replace')}")


def find_cuda_runtime() -> CudaRuntime:
    """Return the first CUDA runtime here that finds a GPU.

    Raises:
        SpecError: there is none; the message is that of the last one tried.
    """
    trouble = ""
    for library in _libraries():
        try:
            return CudaRuntime(library)
        except OSError as error:
            trouble = trouble or str(error)
        except CudaError as error:
            trouble = str(error)
    if not trouble:
        raise SpecError(
            "--shared-memory cuda: no CUDA runtime (libcudart) here",
            hint="pip install nvidia-cuda-runtime-cu12, or use --shared-memory system",
        )
    raise SpecError(
        f"--shared-memory cuda: no GPU here that CUDA can use: {trouble}",
        hint="--shared-memory system needs none",
    )


def _libraries() -> Iterator[str]:
    for folder in dict.fromkeys(sys.path):
        for pattern in _IN_PACKAGES:
            yield from sorted(str(path) for path in Path(folder or ".").glob(pattern))
    if found := ctypes.util.find_library("cudart"):
        yield found
    for pattern in ("cuda*/lib64/libcudart.so*", "cuda*/lib/libcudart.so*"):
        yield from sorted(str(path) for path in _TOOLKIT.glob(pattern))
