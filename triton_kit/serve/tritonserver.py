"""Where the real tritonserver is on this machine: inside the nvidia-pytriton wheel."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from triton_kit.errors import MissingExtraError, ServerError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tritonserver:
    """The files of one installed tritonserver.

    Attributes:
        wheel_version: of the package that carries it, not of the server.
        binary: the program.
        libraries: the folder of its shared libraries.
        python_backend: the folder of the Python backend.
        stub: the program that runs Python models, built for this Python.
    """

    wheel_version: str
    binary: Path
    libraries: Path
    python_backend: Path
    stub: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment it runs in: ours, with what it needs in front."""
        libraries = [str(self.libraries), os.environ.get("LD_LIBRARY_PATH", "")]
        # The stub takes its Python, and with it numpy, from the first one on PATH.
        programs = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
        return os.environ | {
            "LD_LIBRARY_PATH": ":".join(filter(None, libraries)),
            "PATH": ":".join(filter(None, programs)),
        }


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
    return found


def _wheel_version() -> str:
    try:
        return version("nvidia-pytriton")
    except PackageNotFoundError:
        return "(unknown version)"
