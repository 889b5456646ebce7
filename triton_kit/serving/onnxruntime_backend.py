"""Which `onnxruntime` backend serves: the one in C, compiled here, or Python."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from triton_kit.errors import ServerError
from triton_kit.files import make_cache
from triton_kit.process import run_child

OnnxruntimeChoice = Literal["auto", "native", "python"]

_SOURCES = Path(__file__).parent / "backends" / "onnxruntime" / "native"
_FLAGS = (
    "-std=gnu11",
    "-O2",
    "-Wall",
    "-shared",
    "-fPIC",
    "-fvisibility=hidden",
    "-pthread",
)
_COMPILERS = ("cc", "gcc", "clang")
_COMPILE_WITHIN_S = 120.0
_PROBE_WITHIN_S = 60.0
# The C source asks for this version of ONNX Runtime's table of functions (ort.h).
_ORT_API_VERSION = 16
_PROBE = """
import ctypes, sys
class Base(ctypes.Structure):
    _fields_ = [("api", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint32)),
                ("version", ctypes.CFUNCTYPE(ctypes.c_char_p))]
base = ctypes.CDLL(sys.argv[1]).OrtGetApiBase
base.restype = ctypes.POINTER(Base)
found = base().contents
if not found.api(int(sys.argv[2])):
    sys.exit(f"onnxruntime {found.version().decode()} has no C API {sys.argv[2]}")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxruntimeBackend:
    """The backend that was chosen.

    Attributes:
        kind: native (C) or python.
        library: of the native one, compiled.
        onnxruntime: the shared library of ONNX Runtime that the native one loads.
        why_python: why the native one does not serve; empty where it does.
    """

    kind: Literal["native", "python"]
    library: Path | None = None
    onnxruntime: Path | None = None
    why_python: str = ""

    def __str__(self) -> str:
        """In words, for a person: `native`, or `python (why)`."""
        return f"{self.kind} ({self.why_python})" if self.why_python else self.kind

    @property
    def flags(self) -> list[str]:
        """The server's options for this backend."""
        if self.onnxruntime is None:
            return []
        return [f"--backend-config=onnxruntime,library={self.onnxruntime}"]


def cuda_library_folders() -> list[str]:
    """Return the folders of the CUDA libraries of NVIDIA's wheels, for onnxruntime-gpu.

    It does not find them by itself; in Python, `onnxruntime.preload_dlls` does.
    """
    onnxruntime, nvidia = find_spec("onnxruntime"), find_spec("nvidia")
    homes = (onnxruntime.submodule_search_locations if onnxruntime else None) or ()
    provider = "capi/libonnxruntime_providers_cuda.so"
    if not any((Path(home) / provider).exists() for home in homes):
        return []
    roots = (nvidia.submodule_search_locations if nvidia else None) or ()
    return [
        str(folder) for root in roots for folder in sorted(Path(root).glob("*/lib"))
    ]


class _UnusableError(Exception):
    """Why the native backend cannot serve here, and what to do about it."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.reason, self.hint = reason, hint


def choose_onnxruntime_backend(
    wanted: OnnxruntimeChoice, *, cache: Path
) -> OnnxruntimeBackend:
    """Return the native backend where it works and is wanted, else the Python one.

    Args:
        wanted: auto prefers the native one.
        cache: where the compiled one is kept.

    Raises:
        ServerError: the native one was asked for and does not work here.
    """
    if wanted == "python":
        return OnnxruntimeBackend(kind="python")
    try:
        onnxruntime = _find_onnxruntime()
        _check_abi(onnxruntime, cache)
        library = _compiled(cache)
    except _UnusableError as error:
        if wanted == "auto":
            return OnnxruntimeBackend(kind="python", why_python=error.reason)
        raise ServerError(
            f"the native onnxruntime backend does not work here: {error.reason}",
            hint=f"{error.hint}, or leave --onnxruntime-backend out",
        ) from error
    return OnnxruntimeBackend(kind="native", library=library, onnxruntime=onnxruntime)


def _find_onnxruntime() -> Path:
    package = find_spec("onnxruntime")
    folders = package.submodule_search_locations if package else None
    for folder in folders or ():
        for library in sorted(Path(folder).glob("capi/libonnxruntime.so*")):
            return library.absolute()
    raise _UnusableError(
        "the installed onnxruntime has no libonnxruntime.so"
        if folders
        else "onnxruntime is not installed",
        "pip install 'onnxruntime>=1.18'",
    )


def _check_abi(onnxruntime: Path, cache: Path) -> None:
    """Refuse an onnxruntime without the functions that the native backend calls.

    It is asked in a process of its own, once for each file.
    """
    state = onnxruntime.stat()
    facts = f"{onnxruntime}\0{state.st_size}\0{state.st_mtime_ns}\0{_ORT_API_VERSION}"
    passed = cache / f"onnxruntime-{_short_hash(facts.encode())}.checked"
    if passed.exists():
        return
    argv = [sys.executable, "-P", "-c", _PROBE, str(onnxruntime), str(_ORT_API_VERSION)]
    done = run_child(argv, deadline_s=_PROBE_WITHIN_S)
    if done.exit_code != 0:
        lines = done.stderr.strip().splitlines() or [done.ending]
        raise _UnusableError(lines[-1], "install another onnxruntime (1.18 or newer)")
    try:
        make_cache(cache)
        passed.touch()
    except OSError:
        return  # the next start asks again


def _compiled(cache: Path) -> Path:
    """Return the compiled backend, from the cache or fresh."""
    compiler = next(filter(None, map(shutil.which, _COMPILERS)), None)
    if compiler is None:
        raise _UnusableError(
            f"no C compiler: none of {', '.join(_COMPILERS)} is installed",
            "apt-get install gcc libc6-dev (Debian, Ubuntu)",
        )
    sources = sorted(_SOURCES.glob("*.c"))
    flags = [*_FLAGS, *os.environ.get("CFLAGS", "").split()]
    library = cache / f"libtriton_onnxruntime-{_key(compiler, flags)}.so"
    if library.exists():
        return library
    try:
        make_cache(cache)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".compile-") as folder:
            fresh = Path(folder) / library.name
            _compile([compiler, *flags, *map(str, sources), "-o", str(fresh), "-ldl"])
            if not fresh.is_file():
                raise _UnusableError(f"{compiler} wrote no library", "repair it")
            fresh.rename(library)
    except OSError as error:
        raise _UnusableError(
            f"cannot write the cache folder {cache}: {error.strerror or error}",
            "set XDG_CACHE_HOME to a folder that can be written",
        ) from error
    return library


def _compile(argv: list[str]) -> None:
    done = run_child(argv, deadline_s=_COMPILE_WITHIN_S)
    if done.exit_code == 0:
        return
    lines = done.stderr.strip().splitlines()
    first = next((line for line in lines if "error" in line), "")
    reason = first or (lines[-1] if lines else done.ending)
    raise _UnusableError(
        f"{argv[0]} cannot compile it: {reason}",
        "install a working compiler: apt-get install gcc libc6-dev (Debian, Ubuntu)",
    )


def _key(compiler: str, flags: list[str]) -> str:
    """Return a name for what the sources, the compiler and this machine make."""
    done = run_child([compiler, "--version"], deadline_s=_PROBE_WITHIN_S)
    digest = hashlib.sha256()
    for path in sorted(_SOURCES.iterdir()):
        digest.update(f"{path.name}\0".encode())
        digest.update(path.read_bytes())
    facts = [done.stdout, *flags, platform.machine(), *platform.libc_ver()]
    digest.update("\0".join(facts).encode())
    return digest.hexdigest()[:16]


def _short_hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
