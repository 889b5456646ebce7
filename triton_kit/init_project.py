"""Model files become a first triton-kit.yaml."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any  # YAML values

import yaml

from triton_kit.artifact import OnnxModel, inspect_onnx
from triton_kit.errors import SpecError
from triton_kit.files import write_whole
from triton_kit.project.load import FILE_NAME, check_text
from triton_kit.repository.generate.generate import DEFAULT_BATCH_SIZE, config_from_onnx
from triton_kit.tensors import DYNAMIC, Shape

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
_NUMBERED = re.compile(r"\d+")
# Sizes for an axis that varies and whose bounds no file tells.
TYPICAL_SIZE = 32
_SIZES = {"min": 1, "opt": TYPICAL_SIZE, "max": 128}
_HEAD = """\
# What triton-kit found in the models. Check what is marked; then: triton-kit build
# Every key: docs/build.md, or `triton-kit schema` for your editor.
"""
_DECLARE = "declare the tensors of the Python model, batch axis left out"
_BOUNDS = "set the bounds of the axes that vary"


def init_project(models: Sequence[Path], folder: Path) -> Path:
    """Write the project file for some models; return its path.

    Raises:
        SpecError: the file exists, a model is not there, or two have one name.
        ConvertError: a model cannot be read.
    """
    file = folder / FILE_NAME
    if file.exists():
        raise SpecError(f"{file}: exists already", hint="edit it, or name another -o")
    found: dict[str, dict[str, Any]] = {}
    notes: dict[str, str] = {}
    for model in models:
        name = model_name(model)
        if name in found:
            raise SpecError(f"two models would be named {name!r}", hint="rename one")
        found[name], notes[name] = _entry(model, folder)
    text = _HEAD + f"name: {_plain(model_name(folder.absolute()))}\nmodels:\n"
    for name, entry in found.items():
        text += (
            f"  {_plain(name)}:" + (f"  # {notes[name]}" if notes[name] else "") + "\n"
        )
        body = yaml.safe_dump(entry, sort_keys=False, default_flow_style=None, width=88)
        text += "".join(f"    {line}\n" for line in body.splitlines())
    check_text(text, file)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(file, text)
    except OSError as error:
        raise SpecError(f"{file}: cannot write it: {error.strerror}") from error
    return file


def _plain(name: str) -> str:
    """Return a name as YAML has it: `2024` would be a number without quotes."""
    return yaml.safe_dump(name).partition("\n")[0]


def model_name(model: Path) -> str:
    """Return a model's name: that of its file, or of `NAME/1/model.onnx`."""
    path = model.absolute()
    name = path.stem if path.is_file() else path.name
    if name == "model" and _NUMBERED.fullmatch(path.parent.name):
        name = path.parent.parent.name
    return _NOT_IN_NAMES.sub("_", name).lstrip("_.-") or "model"


def _entry(model: Path, folder: Path) -> tuple[dict[str, Any], str]:
    if not model.exists():
        raise SpecError(f"{model}: no such file or folder")
    source = os.path.relpath(model.absolute(), folder.absolute())
    entry: dict[str, Any] = {"source": source}
    if model.suffix == ".py" or (model / "model.py").is_file():
        for kind in ("input", "output"):
            entry[f"{kind}s"] = {kind.upper(): {"dtype": "fp32", "shape": [1]}}
        return entry, _DECLARE
    if model.suffix != ".onnx":
        return entry, ""
    onnx_model = inspect_onnx(model)
    is_batched = not onnx_model.unranked and bool(
        config_from_onnx(model).max_batch_size
    )
    inputs, is_guessed = _inputs(onnx_model, is_batched=is_batched)
    if inputs:
        entry["inputs"] = inputs
    if is_batched:
        entry["batching"] = {"max_batch_size": DEFAULT_BATCH_SIZE}
    return entry, _BOUNDS if is_guessed else ""


def _inputs(model: OnnxModel, *, is_batched: bool) -> tuple[dict[str, Any], bool]:
    """Return the bounds of inputs that vary, and whether some are guesses."""
    found: dict[str, Any] = {}
    is_guessed = False
    for tensor in model.inputs:
        if DYNAMIC not in tensor.shape:
            continue
        bounds = {
            which: _sized(tensor.shape, which, is_batched=is_batched)
            for which in _SIZES
        }
        found[tensor.name] = bounds
        is_guessed |= DYNAMIC in tensor.shape[1 if is_batched else 0 :]
    return found, is_guessed


def _sized(shape: Shape, which: str, *, is_batched: bool) -> list[int]:
    sizes = [_SIZES[which] if size == DYNAMIC else size for size in shape]
    if is_batched:
        batches = {"min": 1, "opt": DEFAULT_BATCH_SIZE // 2, "max": DEFAULT_BATCH_SIZE}
        sizes[0] = batches[which]
    return sizes
