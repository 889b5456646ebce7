"""The worker of `passes`: runs a user's pass, onnxslim or Polygraphy on a graph.

A pass is the user's code; the others run ONNX Runtime inside, which can end its
process.
"""

from __future__ import annotations

import logging
from pathlib import Path

import onnx
from onnx import ModelProto

from triton_kit.conversion.onnx.affine import fold_affine
from triton_kit.conversion.onnx.hard_sigmoid import fuse_hard_sigmoids
from triton_kit.conversion.onnx.onnx_file import (
    keep_words,
    load_onnx,
    name_nodes,
    save_onnx,
    words_of,
)
from triton_kit.conversion.onnx.passes import load_callable
from triton_kit.conversion.onnx.slim_large import simplified_apart
from triton_kit.conversion.onnx.weight_files import read_bare, write_bare
from triton_kit.conversion.workers.worker import Request
from triton_kit.errors import SpecError


def slim(model: ModelProto, _: Request) -> ModelProto:
    """Let onnxslim simplify."""
    import onnxslim

    logging.getLogger("onnxslim").setLevel(logging.ERROR)
    done: ModelProto | None = onnxslim.slim(model)
    if done is None:
        raise ValueError("it returned nothing")
    return _without_constants(done)


def fold(model: ModelProto, _: Request) -> ModelProto:
    """Let Polygraphy fold constants."""
    from polygraphy.backend.onnx import fold_constants
    from polygraphy.logger import G_LOGGER

    with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
        done: ModelProto = fold_constants(model, error_ok=False)
    return _without_constants(done)


def _without_constants(model: ModelProto) -> ModelProto:
    """Take multiplications and additions of constants out, in place."""
    fuse_hard_sigmoids(model)
    fold_affine(model)
    return model


def _drop_shapes(model: ModelProto, known: set[str]) -> None:
    """Drop the shapes of values that the source did not have, in place.

    Simplifiers write those of all values and weights, a fifth of a small file. What
    reads the graph infers them; and ONNX Runtime fuses Add and LayerNormalization of
    values with a shape into a kernel that is slower on CPUs (8.3 instead of 7.8 ms, a
    BERT of three layers).
    """
    values = model.graph.value_info
    for index in reversed(range(len(values))):
        if values[index].name not in known:
            del values[index]


def user_pass(model: ModelProto, request: Request) -> ModelProto:
    """Run a user's pass, whose result has to be a valid model."""
    done = load_callable(request["pass"], "pass", request["root"])(model)
    if not isinstance(done, ModelProto):
        raise TypeError(f"it returned {type(done).__name__}, expected an ONNX model")
    onnx.checker.check_model(done)
    return done


_WORK = {"slim": slim, "fold": fold, "pass": user_pass}


def work(request: Request) -> dict[str, str | None]:
    """Rewrite a graph; `refused` says why that cannot start."""
    is_bare, path = request.get("is_bare", False), Path(request["model"])
    model = read_bare(path) if is_bare else load_onnx(path)
    words, known = words_of(model), {value.name for value in model.graph.value_info}
    try:
        run = _WORK[request["what"]]
        done = simplified_apart(model, lambda bare: run(bare, request))
    except SpecError as error:
        return {"refused": error.message}
    if request["what"] != "pass":  # a user's may change them
        keep_words(done, words)
        _drop_shapes(done, known)
    name_nodes(done)
    (write_bare if is_bare else save_onnx)(done, Path(request["rewritten"]))
    return {"refused": None}
