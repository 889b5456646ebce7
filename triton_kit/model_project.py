"""One's own ONNX model becomes a project: sources, a sample, a client, a README."""

from __future__ import annotations

import shutil
import tempfile
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any  # arrays of any type

import numpy as np
from numpy.typing import NDArray

from triton_kit.artifact import OnnxModel, inspect_onnx
from triton_kit.errors import SpecError
from triton_kit.files import write_whole
from triton_kit.init_project import TYPICAL_SIZE, init_project, model_name
from triton_kit.project.scaffold import require_empty
from triton_kit.repository.generate.generate import config_from_onnx
from triton_kit.repository.generate.warmup import tensor_dtype
from triton_kit.tensors import DYNAMIC, DataType, Shape
from triton_kit.triton.schema import Message

_TARGETS = """\
targets:
  local: {triton: embedded, format: onnx}
  gpu: {triton: "26.06", format: plan}
"""
_LOADS = """\
loads:
  # triton-kit perf --load smoke
  smoke: {model: NAME, concurrency: 2, duration_s: 1, input_data: samples/sample.npz}
"""
_SEED = 0


def write_model_project(model: Path, folder: Path) -> None:
    """Write a project around an ONNX file into a new or empty folder.

    Raises:
        SpecError: the folder has something in it, or the model cannot be served as it
            is.
        ConvertError: the file is no ONNX model.
    """
    if model.suffix != ".onnx":
        raise SpecError(
            f"{model}: not an ONNX file",
            hint="other models: triton-kit init MODEL, triton-kit convert",
        )
    require_empty(folder)
    facts, config = inspect_onnx(model), config_from_onnx(model)
    with tempfile.TemporaryDirectory() as made:
        # Its name becomes that of the project.
        stage = Path(made) / folder.absolute().name
        stage.mkdir()
        _write(model, stage, facts, config)
        try:
            shutil.copytree(stage, folder, dirs_exist_ok=True)
        except OSError as error:
            raise SpecError(f"{folder}: cannot write it: {error}") from error


def _write(model: Path, stage: Path, facts: OnnxModel, config: Message) -> None:
    name = model_name(model)
    source = stage / f"{name}.onnx"
    shutil.copyfile(model, source)
    for weights in facts.external_files:
        _refuse_outside(model, weights)
        (stage / weights).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model.parent / weights, stage / weights)
    project = init_project([source], stage)
    head, models, rest = project.read_text().partition("models:\n")
    loads = _LOADS.replace("NAME", name)
    write_whole(project, f"{head}{_TARGETS}{models}{rest}{loads}")
    texts = _texts(name, model, facts, config)
    for file in ("client.py", "README.md"):
        template = files("triton_kit.templates") / "own_model" / file
        text = Template(template.read_text("utf-8")).substitute(texts)
        write_whole(stage / file, text)
    (stage / "samples").mkdir()
    np.savez_compressed(stage / "samples" / "sample.npz", **sample(config))


def _refuse_outside(model: Path, weights: str) -> None:
    """Refuse weights that are not there, or whose path leads out of a folder."""
    if Path(weights).is_absolute() or ".." in Path(weights).parts:
        raise SpecError(
            f"{model}: its weights are in {weights}, outside of its folder",
            hint="save the model with its weights beside it, or in one file",
        )
    if not (model.parent / weights).is_file():
        raise SpecError(
            f"{model}: its weights are in {weights}, which is not there",
            hint="copy it beside the model",
        )


def sample(config: Message) -> dict[str, NDArray[Any]]:
    """Return one made sample of every input; an array's first axis counts samples."""
    generator = np.random.default_rng(_SEED)
    return {
        tensor.name: _values(
            tensor_dtype(tensor),
            (1, *(_size(size) for size in tensor.dims)),
            generator,
        )
        for tensor in config.input
    }


def _size(size: int) -> int:
    return TYPICAL_SIZE if size == DYNAMIC else size


def _values(
    dtype: DataType, shape: Shape, generator: np.random.Generator
) -> NDArray[Any]:
    if dtype.item_bytes is None:
        return np.full(shape, b"text")
    if dtype.name == "BF16":  # tritonclient makes it of float32
        return generator.random(shape, np.float32)
    if dtype.name.startswith("FP"):
        return generator.random(shape).astype(dtype.numpy)
    return generator.integers(0, 2, shape).astype(dtype.numpy)


def _texts(name: str, model: Path, facts: OnnxModel, config: Message) -> dict[str, str]:
    size = config.max_batch_size
    opsets = {domain or "ai.onnx": at for domain, at in facts.opsets.items()}
    parts = [f"opset {', '.join(f'{d} {n}' for d, n in sorted(opsets.items()))}"]
    parts.append(f"format version {facts.ir_version}")
    parts += [f"written by {facts.producer}"] if facts.producer else []
    return {
        "model": name,
        "file": model.name,
        "tensors": "\n".join(_rows(config)),
        "batching": f"the first axis is the batch, of 1 to {size} samples"
        if size
        else "none, as not every tensor has a batch axis: one request, one run",
        "onnx": ", ".join(parts),
    }


def _rows(config: Message) -> list[str]:
    batch = ["batch"] if config.max_batch_size else []
    rows = []
    for kind in ("input", "output"):
        for tensor in getattr(config, kind):
            sizes = [
                *batch,
                *("varies" if s == DYNAMIC else str(s) for s in tensor.dims),
            ]
            dtype = tensor_dtype(tensor).name
            rows.append(f"| {kind} `{tensor.name}` | {dtype} | {', '.join(sizes)} |")
    return rows
