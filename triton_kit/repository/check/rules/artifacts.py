"""The model file against the config: what the backend itself would find."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from triton_kit.artifact import inspect_plan
from triton_kit.errors import ConvertError
from triton_kit.repository.check.findings import WARNING
from triton_kit.repository.check.rules.case import (
    Case,
    Problem,
    Problems,
    model_file,
)
from triton_kit.repository.check.rules.onnx_model import check_onnx
from triton_kit.repository.check.rules.textfile import is_special
from triton_kit.repository.check.rules.versions import version_number

_LFS = b"version https://git-lfs"


def check_artifacts(case: Case) -> Problems:
    """M1 to M21: model files of the backends whose files the kit can read."""
    checks = {"onnxruntime": check_onnx, "tensorrt": _plan}
    check = checks.get(case.config.backend)
    if check is None:
        return
    newest = max((version_number(f) or 0 for f in case.folder.subfolders), default=0)
    for version in case.versions:
        path = model_file(case, version)
        if is_special(path):
            message = "the model file is a pipe or a device: the server would hang"
            yield Problem("M1", message=message, file=path)
            continue
        if not path.is_file():
            continue
        stub = _stub(path)
        for problem in check(case, path) if stub is None else [stub]:
            yield problem if version == newest else _of_older(problem, version)


def _of_older(problem: Problem, version: int) -> Problem:
    """Name the version: a newer one may be valid."""
    return replace(
        problem,
        message=f"version {version}: {problem.message}",
        hint="all versions that are served have one config: leave version "
        f"{version} out of the version policy, or give it a model of its own",
    )


def _stub(path: Path) -> Problem | None:
    """Report a file that only stands for the model; None if it may be one."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_LFS))
    except OSError as error:
        message = f"the model file cannot be read: {error.strerror}"
        return Problem("M1", message=message, file=path)
    if head == _LFS:
        message, hint = "the model file is a Git LFS pointer", "run git lfs pull"
    elif not head:
        message, hint = "the model file is empty", "put the model there"
    else:
        return None
    return Problem("M2", message=message, hint=hint, severity=WARNING, file=path)


def _plan(case: Case, path: Path) -> Problems:
    try:
        header = inspect_plan(path)
    except ConvertError as error:
        message = error.message.removeprefix(f"{path}: ")
        yield Problem("M1", message=message, hint=error.hint, file=path)
        return
    if header.kind != "tensorrt":
        yield Problem(
            "M3",
            message=f"the plan was built by TensorRT-RTX {header.version_text}, which "
            "Triton's backend cannot load",
            hint="build it with TensorRT itself: triton-kit build --target gpu",
            file=path,
        )
        return
    wanted = case.target.tensorrt
    if wanted is not None and not _loads(header.version_text, wanted):
        yield Problem(
            "M4",
            message=f"the plan was built by TensorRT {header.version_text}, the server "
            f"has {wanted}",
            hint="a plan loads only where it was built: build it for this release",
            severity=WARNING,
            file=path,
        )


def _loads(built: str, wanted: str) -> bool:
    known = wanted.split(".")
    return built.split(".")[: len(known)] == known
