"""Graph passes: each takes an ONNX model and returns one that computes the same."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import onnx.inliner
from onnx import ModelProto, version_converter

from triton_kit.conversion.onnx.onnx_file import opset_of, remove, save_onnx, size_of
from triton_kit.conversion.onnx.weight_files import has_apart, read_bare, write_bare
from triton_kit.conversion.onnx.weight_reader import load_apart
from triton_kit.conversion.workers.child import (
    call_worker,
    conversion_failed,
)
from triton_kit.conversion.workers.worker import import_named
from triton_kit.errors import ConvertError, SpecError

Json = Any
MIN_OPSET = 13  # per-channel Q/DQ and the shapes of today's operators begin here
IR_OF_FREE_WEIGHTS = 4  # before it, a weight is an input as well


def simplify(
    model: ModelProto, *, scratch: Path, timeout_s: float, path: Path | None = None
) -> tuple[ModelProto, Path | None]:
    """Fold constants, fuse and drop what changes nothing: onnxslim, else Polygraphy.

    Then scales and shifts become part of weights (`affine`, `hard_sigmoid`).

    Args:
        model: it is left as it is.
        scratch: a folder to work in.
        timeout_s: maximum seconds for each.
        path: a file that has the model as it is, where there is one already.

    Returns:
        The simpler model, every node of it with a name of its own, and its file: None
        where weights stay in files of their own.

    Raises:
        ConvertError: neither could do it.
    """
    reasons = []
    for what, name in (("slim", "onnxslim"), ("fold", "Polygraphy")):
        try:
            request = {"what": what}
            if has_apart(model):
                return _simplify_apart(model, request, name, scratch, timeout_s), None
            return _in_child(model, request, name, scratch, timeout_s, path=path)
        except ConvertError as error:
            reasons.append(error.message)
    raise ConvertError("; ".join(reasons))


def _simplify_apart(
    model: ModelProto, request: Json, name: str, scratch: Path, timeout_s: float
) -> ModelProto:
    folder = Path(tempfile.mkdtemp(dir=scratch))
    before, after = folder / "before.onnx", folder / "after.onnx"
    write_bare(model, before)
    call_worker(
        "onnx.passes_worker",
        request | {"model": str(before), "rewritten": str(after), "is_bare": True},
        timeout_s=timeout_s,
        failed=conversion_failed(f"{name} failed"),
        preloaded=True,
    )
    return read_bare(after)


def apply_user_passes(
    model: ModelProto,
    names: Sequence[str],
    *,
    root: Path | None,
    scratch: Path,
    timeout_s: float,
) -> ModelProto:
    """Run the user's passes, `package.module:function`, each on what the last one made.

    A pass takes an `onnx.ModelProto` and returns one; use onnx-graphsurgeon inside
    (`import_onnx`, `export_onnx`). `root`, or the current folder, is where they are
    imported from.

    Raises:
        SpecError: there is no such module or function.
        ConvertError: a pass fails, ends its process, or returns no valid model.
    """
    for name in names:
        request = {"what": "pass", "pass": name, "root": user_folder(root)}
        model, path = _in_child(model, request, f"pass {name!r}", scratch, timeout_s)
        remove(path)
    return model


def _in_child(
    model: ModelProto,
    request: Json,
    name: str,
    scratch: Path,
    timeout_s: float,
    *,
    path: Path | None = None,
) -> tuple[ModelProto, Path]:
    """Let `passes_worker` rewrite a model: foreign code, which may end its process."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    before, after = path or folder / "before.onnx", folder / "after.onnx"
    if path is None:
        save_onnx(model, before)
    response = call_worker(
        "onnx.passes_worker",
        request | {"model": str(before), "rewritten": str(after)},
        timeout_s=timeout_s,
        failed=conversion_failed(f"{name} failed"),
        preloaded=request["what"] != "pass",
    )
    if refused := response["refused"]:
        raise SpecError(refused)
    if path is None:
        remove(before)
    return load_apart(after, model_bytes=size_of(after)), after


def inline_functions(model: ModelProto) -> ModelProto:
    """Inline model-local functions: the other passes read plain nodes."""
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def weights_no_inputs(model: ModelProto) -> ModelProto:
    """Take weights out of the inputs, where IR 3 requires them; the result is IR 4.

    Simplifiers do so without a word of the IR, and onnx's converter takes no IR 3.
    """
    if model.ir_version >= IR_OF_FREE_WEIGHTS:
        return model
    copy = ModelProto()
    copy.CopyFrom(model)
    weights = {tensor.name for tensor in copy.graph.initializer}
    inputs = [value for value in copy.graph.input if value.name not in weights]
    del copy.graph.input[:]
    copy.graph.input.extend(inputs)
    copy.ir_version = IR_OF_FREE_WEIGHTS
    return copy


def to_opset(model: ModelProto, wanted: int) -> ModelProto:
    """Bring a model to an opset.

    Raises:
        ConvertError: an operator has no form in that opset.
    """
    if opset_of(model) == wanted:
        return model
    try:
        return version_converter.convert_version(model, wanted)
    except (RuntimeError, ValueError, version_converter.ConvertError) as error:
        raise ConvertError(
            f"cannot bring the model from opset {opset_of(model)} to {wanted}: {error}",
            hint="export it with that opset",
        ) from error


def at_least_opset(model: ModelProto, wanted: int) -> ModelProto:
    """Bring a model to an opset unless it is there or beyond."""
    return model if opset_of(model) >= wanted else to_opset(model, wanted)


def user_folder(root: Path | None) -> str:
    """Return the folder that the user's modules are imported from."""
    return str(root or Path.cwd())


def load_callable(name: str, what: str, root: str) -> Callable[..., object]:
    """Import `package.module:function`, from `root` if its module is there.

    Raises:
        SpecError: not of that form, or not there.
    """
    module, colon, attribute = name.partition(":")
    if not colon or not module or not attribute:
        raise SpecError(f"{what} {name!r} is not package.module:function")
    try:
        found = getattr(import_named(module, Path(root)), attribute)
    except (ImportError, AttributeError) as error:
        raise SpecError(f"{what} {name!r}: {error}") from error
    if not callable(found):
        raise SpecError(f"{what} {name!r} is not a function")
    return cast("Callable[..., object]", found)
