"""The backend's shared library, and the library of a batching strategy."""

from __future__ import annotations

import os
from pathlib import Path

from triton_kit.repository.check.rules.case import Case, Problem, Problems

_STRATEGY = "TRITON_BATCH_STRATEGY_PATH"


def check_library(case: Case) -> Problems:
    """R7 to R9: the library of the backend, or the one that `runtime` names."""
    yield from _own_library(case)
    if case.config.runtime:
        yield from _runtime(case)
    elif not _ships_library(case, f"libtriton_{case.config.backend}.so"):
        backend = case.config.backend
        if not case.target.has_backend(backend):
            known = ", ".join(sorted(case.target.backends or ()))
            yield Problem(
                "R7",
                f"unable to find backend library for backend '{backend}', try "
                "specifying runtime on the model configuration.",
                at=("backend",) if case.written.backend else ("platform",),
                hint=f"installed: {known}; or put libtriton_{backend}.so into the "
                "model's folder",
            )


def _own_library(case: Case) -> Problems:
    """R11: a library that the model brings is one."""
    name = case.config.runtime or f"libtriton_{case.config.backend}.so"
    folders = [str(version) for version in case.versions] + [""]
    for folder in folders:
        path = case.folder.path / folder / name
        if "/" in name or name == "model.py" or not path.exists():
            continue
        if not _is_library(path):
            yield Problem(
                "R11",
                f"unable to load shared library: {path}",
                message=f"{name} is no shared library",
                hint="build it for Linux, or remove it",
                file=path,
            )
        return


def _is_library(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def _ships_library(case: Case, name: str) -> bool:
    """Whether the model brings the library itself: in a version, or beside them."""
    if name in case.folder.files:
        return True
    return any(name in case.folder.content_of(str(v)) for v in case.versions)


def _runtime(case: Case) -> Problems:
    runtime, backend = case.config.runtime, case.config.backend
    own = f"libtriton_{backend}.so"
    if runtime == "model.py":
        # A backend written in Python: the library is that of the Python backend.
        if not case.target.has_backend("python") or backend in _COMPILED:
            yield _absent(case, "model.py")
        return
    if os.path.normpath(runtime) == own or runtime.endswith(f"../{backend}/{own}"):
        if case.target.has_backend(backend) or _ships_library(case, own):
            return
    elif _ships_library(case, runtime):
        return
    elif _is_other_backend(case, runtime):
        yield Problem(
            "R9",
            f"backend library name '{runtime}' escapes backend directory",
            at=("runtime",),
            hint=f"name a library in the backend's own folder, such as {own}",
        )
        return
    yield _absent(case, runtime)


# Backends of the container without a model.py beside their library: PyTorch's has one.
_COMPILED = frozenset(
    {
        *("dali", "fil", "identity", "onnxruntime", "openvino", "python", "repeat"),
        *("square", "tensorflow", "tensorrt", "tensorrtllm"),
    }
)


def _is_other_backend(case: Case, runtime: str) -> bool:
    parts = runtime.split("/")
    if len(parts) < 3 or parts[0] != "..":
        return False
    other = parts[-2]
    return parts[-1] == f"libtriton_{other}.so" and case.target.has_backend(other)


def _absent(case: Case, runtime: str) -> Problem:
    if runtime == "model.py":
        text = (
            "unable to find Python backend based backend library 'model.py' for model "
            f"'{case.name}', searched: "
        )
    else:
        text = f"unable to find backend library '{runtime}' for model '{case.name}'"
    own = f"libtriton_{case.config.backend}.so"
    hint = f"remove runtime: the server finds {own} by itself"
    return Problem("R8", text, at=("runtime",), hint=hint)


def check_strategy(case: Case) -> Problems:
    """T1, T2: a custom batching strategy."""
    if _STRATEGY not in case.config.parameters:
        return
    path = case.config.parameters[_STRATEGY].string_value
    at = ("parameters", _STRATEGY)
    if case.config.HasField("sequence_batching"):
        yield Problem(
            "T1",
            f"{_STRATEGY} cannot be specified with sequence batcher, using default "
            "batching strategy",
            at=at,
            hint="remove the parameter",
        )
    elif not os.path.lexists(path):
        text = f"Batching library path not found: {path}"
        yield Problem("T2", text, at=at, hint="the path is one of the server's machine")
