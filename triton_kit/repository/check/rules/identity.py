"""Name, backend, platform and batch size: what a model is to the server."""

from __future__ import annotations

from triton_kit.repository.check.folder import CONFIG_NAME
from triton_kit.repository.check.normalize import ENSEMBLE
from triton_kit.repository.check.rules.case import Case, Problem, Problems
from triton_kit.repository.check.rules.leftovers import (
    FILE_SYSTEM_FOLDERS,
    FILE_SYSTEM_HINT,
    misnamed_config,
    where_models_are,
)

_PLATFORM_BACKENDS = {
    "tensorflow_graphdef": "tensorflow",
    "tensorflow_savedmodel": "tensorflow",
    "tensorrt_plan": "tensorrt",
    "onnxruntime_onnx": "onnxruntime",
    "pytorch_libtorch": "pytorch",
}
_PICKY_BACKENDS = ("tensorflow", "tensorrt", "onnxruntime", "pytorch")


def backend_unknown(case: Case) -> Problem:
    """R2: nothing in config or folder tells which backend the model is for."""
    name = case.folder.name
    return Problem(
        "R2",
        f"Invalid model name: Could not determine backend for model '{name}' with no "
        "backend in model configuration. Expected model name of the form "
        "'model.<backend_name>'.",
        message="nothing tells which backend this model is for",
        hint=_backend_hint(case),
    )


def _backend_hint(case: Case) -> str:
    if case.folder.name in FILE_SYSTEM_FOLDERS:
        return FILE_SYSTEM_HINT
    if case.parsed is None and (hint := _misplaced_config(case)):
        return hint
    models = where_models_are(case.folder)
    if models:
        names = ", ".join(models[:3])
        return f"it holds models itself ({names}): check {case.folder.path}"
    if case.folder.name.startswith("."):
        return "the server takes every folder for a model: move it elsewhere"
    return (
        'set backend: "..." in config.pbtxt, or put a model file with its default name '
        "(model.onnx, model.plan, model.pt, model.py) into version folder 1"
    )


def _misplaced_config(case: Case) -> str | None:
    """Return a hint where the config has another name, or is in a version's folder."""
    folder = case.folder
    other = misnamed_config(folder)
    if other is not None:
        return f"{other} is not read: rename it to {CONFIG_NAME}"
    for name in folder.subfolders:
        if name.isdigit() and CONFIG_NAME in folder.content_of(name):
            return f"move {name}/{CONFIG_NAME} up, beside the version folders"
    return None


def check_identity(case: Case) -> Problems:
    """R3 to R6: platform, backend, the pair of them, and the batch size."""
    config = case.config
    if not config.backend and config.platform != ENSEMBLE:
        yield Problem(
            "R3",
            f"unexpected platform type '{config.platform}' for {case.name}",
            at=("platform",),
            hint='name the backend instead: backend: "onnxruntime"',
        )
    elif config.backend and config.platform == ENSEMBLE:
        yield Problem(
            "R4",
            f"Ensemble model '{case.name}' must have platform type 'ensemble' and "
            "empty backend type",
            at=("backend",),
            hint="remove the backend: an ensemble has none",
        )
    elif _mismatched(case):
        yield Problem(
            "R5",
            "unexpected 'platform' and 'backend' pair, got:"
            f"{config.platform}, {config.backend}",
            at=("platform",),
            hint=f'remove platform, or set backend: "{_backend_of(config.platform)}"',
        )
    if config.max_batch_size < 0:
        yield Problem(
            "R6",
            f"'max_batch_size' must be non-negative value for {case.name}",
            at=("max_batch_size",),
            hint="write 0 for a model without a batch axis",
        )


def _mismatched(case: Case) -> bool:
    config = case.config
    if config.backend not in _PICKY_BACKENDS:
        return False
    if config.backend == "pytorch" and config.platform == "torch_aoti":
        return not case.target.has_backend("torch_aoti")
    return bool(_PLATFORM_BACKENDS.get(config.platform) != config.backend)


def _backend_of(platform: str) -> str:
    return _PLATFORM_BACKENDS.get(platform, "...")


def check_name(case: Case) -> Problems:
    """R1: a model is named like its folder."""
    if case.name != case.folder.name:
        yield Problem(
            "R1",
            f"unexpected directory name '{case.folder.name}' for model '{case.name}', "
            "directory name must equal model name",
            at=("name",),
            hint=f'write name: "{case.folder.name}", or leave the name out',
        )
