"""Where the real tritonserver is on this machine: inside the nvidia-pytriton wheel."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from triton_kit.errors import MissingExtraError, ServerError
from triton_kit.process import NO_TELEMETRY, run_child
from triton_kit.serving.onnxruntime_backend import cuda_library_folders

# What programs, Python, CUDA and the libraries for arithmetic read.
_HARMLESS = re.compile(
    "HOME|USER|LOGNAME|PATH|TMPDIR|TZ|LANG|LANGUAGE|LC_.*|LD_LIBRARY_PATH|LD_PRELOAD|"
    "PYTHON(PATH|HOME|UTF8|HASHSEED|UNBUFFERED|DONTWRITEBYTECODE|WARNINGS)|VIRTUAL_ENV|"
    "XDG_CACHE_HOME|SSL_CERT_(FILE|DIR)|(CUDA|NVIDIA|CUDNN|OMP|GOMP|KMP|MKL|OPENBLAS|"
    "NUMEXPR|ORT|MALLOC|TCMALLOC|ASAN|UBSAN|TSAN)_.*|TRITON_SERVER_CPU_ONLY"
)
_STUB_WITHIN_S = 20.0
_NUMPY_TOO_NEW = 2
_CANNOT_START = 127  # the dynamic loader's exit code


@dataclass(frozen=True, slots=True, kw_only=True)
class Tritonserver:
    """The files of one installed tritonserver.

    Attributes:
        wheel_version: of the package that carries it, not of the server.
        binary: the program.
        libraries: the folder of its shared libraries.
        python_backend: the folder of the Python backend.
        caches: the folder of its response caches; it has `local`.
        stub: the program that runs Python models, built for this Python.
    """

    wheel_version: str
    binary: Path
    libraries: Path
    python_backend: Path
    caches: Path
    stub: Path

    def environment(
        self, *, preload: str = "", variables: Sequence[str] = ()
    ) -> dict[str, str]:
        """Return the environment that it runs in: names that are known to be harmless.

        Others may hold secrets, which every Python model could read, or open endpoints
        (`AIP_MODE` opens Vertex AI's on every address).

        Args:
            preload: a shared library to load before all others.
            variables: more of them: NAME (as it is here) or NAME=VALUE.
        """
        libraries = [
            str(self.libraries),
            _python_library_folder(),
            *cuda_library_folders(),
            os.environ.get("LD_LIBRARY_PATH", ""),
        ]
        # The stub takes its Python, and with it numpy, from the first one on PATH.
        programs = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
        first = [preload, os.environ.get("LD_PRELOAD", "")]
        known = {n: v for n, v in os.environ.items() if _HARMLESS.fullmatch(n)}
        return (
            NO_TELEMETRY
            | known
            | _more(variables)
            | {
                "LD_LIBRARY_PATH": ":".join(filter(None, libraries)),
                "LD_PRELOAD": ":".join(filter(None, first)),
                "PATH": ":".join(filter(None, programs)),
            }
        )


def _more(variables: Sequence[str]) -> dict[str, str]:
    given = dict(text.split("=", 1) for text in variables if "=" in text)
    names = [text for text in variables if "=" not in text and text in os.environ]
    return {name: os.environ[name] for name in names} | given


def find_tritonserver() -> Tritonserver:
    """Find the tritonserver of the `embedded` extra, without importing the wheel.

    Raises:
        MissingExtraError: it is not installed.
        ServerError: it is, but a part of it is missing, or none fits this Python.
    """
    package = find_spec("pytriton")
    if package is None or not package.submodule_search_locations:
        raise MissingExtraError("the embedded tritonserver", extra="embedded")
    root = Path(package.submodule_search_locations[0])
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    stubs = root / "tritonserver" / "python_backend_stubs"
    found = Tritonserver(
        wheel_version=_wheel_version(),
        binary=root / "tritonserver" / "bin" / "tritonserver",
        libraries=root.parent / "nvidia_pytriton.libs",
        python_backend=root / "tritonserver" / "backends" / "python",
        caches=root / "tritonserver" / "caches",
        stub=stubs / python / "triton_python_backend_stub",
    )
    if not found.stub.exists() and stubs.is_dir():
        have = ", ".join(sorted(path.name for path in stubs.iterdir()))
        raise ServerError(
            f"nvidia-pytriton {found.wheel_version} has no Python backend "
            f"for Python {python}",
            hint=f"use one of Python {have}",
        )
    for path in (found.binary, found.libraries, found.python_backend, found.stub):
        if not path.exists():
            raise ServerError(
                f"nvidia-pytriton {found.wheel_version} is incomplete: no {path}",
                hint="pip install --force-reinstall nvidia-pytriton",
            )
    check_stub(found, python)
    check_numpy(version("numpy"))
    return found


def _python_library_folder() -> str:
    """Return the folder of this Python's shared library; empty where it has none.

    The stub links it, and the loader searches only the system's folders for it.
    """
    folder = Path(sysconfig.get_config_var("LIBDIR") or "")
    name = sysconfig.get_config_var("INSTSONAME") or ""
    return str(folder) if name and (folder / name).exists() else ""


def check_stub(found: Tritonserver, python: str, *, libraries: str = "") -> None:
    """Start the stub once: tritonserver waits for ever for one that cannot start.

    `libraries` is the folder of that Python's shared library; empty is this Python's.

    Raises:
        ServerError: a shared library of it is missing.
    """
    env = found.environment()
    if libraries:
        env["LD_LIBRARY_PATH"] = f"{libraries}:{env['LD_LIBRARY_PATH']}"
    done = run_child([str(found.stub)], deadline_s=_STUB_WITHIN_S, env=env)
    if done.exit_code != _CANNOT_START:
        return
    reason = done.stderr.strip().rpartition(": error while loading ")[2]
    raise ServerError(
        f"the Python backend cannot start with this Python {python}: {reason}",
        hint=f"it needs Python's shared library: apt-get install libpython{python}, "
        "or a Python that was built with --enable-shared",
    )


def check_numpy(installed: str) -> None:
    """Refuse a NumPy that the Python backend of 24.10 was not built for.

    With NumPy 2 every output of a Python model arrives empty, without an error
    (measured with 2.5.2: `binary_data_size` is 0).

    Raises:
        ServerError: it is NumPy 2 or newer.
    """
    if int(installed.partition(".")[0]) >= _NUMPY_TOO_NEW:
        raise ServerError(
            f"the embedded server's Python models cannot use NumPy {installed}: "
            "their outputs would arrive empty",
            hint="pip install 'numpy<2'",
        )


def _wheel_version() -> str:
    try:
        return version("nvidia-pytriton")
    except PackageNotFoundError:
        return "(unknown version)"
