"""Graph passes: each takes an ONNX model and returns one that computes the same."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast

import onnx
import onnx.inliner
import onnxslim
from onnx import ModelProto, version_converter

from triton_kit.convert.onnx_file import opset_of
from triton_kit.errors import ConvertError, SpecError

Pass = Callable[[ModelProto], ModelProto]
MIN_OPSET = 13  # per-channel Q/DQ and the shapes of today's operators begin here


def simplify(model: ModelProto) -> ModelProto:
    """Fold constants, fuse and drop what changes nothing: onnxslim, else Polygraphy.

    Raises:
        ConvertError: neither could do it; the model is as it was.
    """
    try:
        return _slim(model)
    except ConvertError as first:
        try:
            return _fold(model)
        except ConvertError as second:
            raise ConvertError(f"{first.message}; {second.message}") from second


def _slim(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    logging.getLogger("onnxslim").setLevel(logging.ERROR)
    try:
        slim: ModelProto | None = onnxslim.slim(copy)
    except Exception as error:  # onnxslim's own border: it raises whatever it meets
        raise ConvertError(f"onnxslim failed: {error}") from error
    if slim is None:
        raise ConvertError("onnxslim returned nothing")
    return slim


def _fold(model: ModelProto) -> ModelProto:
    from polygraphy.backend.onnx import fold_constants
    from polygraphy.logger import G_LOGGER

    copy = ModelProto()
    copy.CopyFrom(model)
    try:
        with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
            folded: ModelProto = fold_constants(copy, error_ok=False)
    except Exception as error:  # Polygraphy's own border, as above
        raise ConvertError(f"Polygraphy failed: {error}") from error
    return folded


def inline_functions(model: ModelProto) -> ModelProto:
    """Write model-local functions out: the other passes look at plain nodes."""
    return onnx.inliner.inline_local_functions(model) if model.functions else model


def to_opset(model: ModelProto, wanted: int) -> ModelProto:
    """Bring a model to an opset.

    Raises:
        ConvertError: an operator has no form in that opset.
    """
    if opset_of(model) == wanted:
        return model
    try:
        return version_converter.convert_version(model, wanted)
    except (RuntimeError, ValueError) as error:
        raise ConvertError(
            f"cannot bring the model from opset {opset_of(model)} to {wanted}: {error}",
            hint="export it with that opset",
        ) from error


def at_least_opset(model: ModelProto, wanted: int) -> ModelProto:
    """Bring a model to an opset unless it is there or beyond."""
    return model if opset_of(model) >= wanted else to_opset(model, wanted)


def load_pass(name: str, root: Path | None = None) -> Pass:
    """Find a user's pass, `package.module:function`.

    The function takes an `onnx.ModelProto` and returns one; use onnx-graphsurgeon
    inside (`import_onnx`, `export_onnx`). `root`, or the current folder, is on the
    import path.

    Raises:
        SpecError: there is no such module or function.
    """
    return cast("Pass", load_callable(name, "pass", root))


def load_callable(
    name: str, what: str, root: Path | None = None
) -> Callable[..., object]:
    """Import `package.module:function`.

    Raises:
        SpecError: not of that form, or not there.
    """
    module, colon, attribute = name.partition(":")
    if not colon or not module or not attribute:
        raise SpecError(f"{what} {name!r} is not package.module:function")
    here = str(root or Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise SpecError(f"{what} {name!r}: {error}") from error
    if not callable(found):
        raise SpecError(f"{what} {name!r} is not a function")
    return cast("Callable[..., object]", found)


def apply_user_passes(
    model: ModelProto, names: tuple[str, ...], *, root: Path | None
) -> ModelProto:
    """Run the user's passes, each on the result of the one before it.

    Raises:
        ConvertError: a pass fails, or returns no valid model.
    """
    for name in names:
        rewrite = load_pass(name, root)
        try:
            model = rewrite(model)
            onnx.checker.check_model(model)
        except Exception as error:  # the user's code: whatever it raises
            raise ConvertError(
                f"pass {name!r} failed: {type(error).__name__}: {error}"
            ) from error
    return model
