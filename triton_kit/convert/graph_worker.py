"""The child of `passes`: runs a user's pass, onnxslim or Polygraphy on a graph.

The first is anybody's code; the others run ONNX Runtime inside, which can end its
process.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from triton_kit.convert.onnx_file import load_onnx, save_onnx
from triton_kit.convert.passes import load_callable
from triton_kit.errors import SpecError

Order = dict[str, Any]  # JSON


def slim(model: ModelProto, _: Order) -> ModelProto:
    """Let onnxslim simplify."""
    import onnxslim

    logging.getLogger("onnxslim").setLevel(logging.ERROR)
    done: ModelProto | None = onnxslim.slim(model)
    if done is None:
        raise ValueError("it returned nothing")
    return done


def fold(model: ModelProto, _: Order) -> ModelProto:
    """Let Polygraphy fold constants."""
    from polygraphy.backend.onnx import fold_constants
    from polygraphy.logger import G_LOGGER

    with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
        done: ModelProto = fold_constants(model, error_ok=False)
    return done


def user_pass(model: ModelProto, order: Order) -> ModelProto:
    """Run a user's pass, whose result has to be a valid model."""
    root = Path(order["root"]) if order["root"] else None
    done = load_callable(order["pass"], "pass", root)(model)
    if not isinstance(done, ModelProto):
        raise TypeError(f"it returned {type(done).__name__}, expected an ONNX model")
    onnx.checker.check_model(done)
    return done


_WORK = {"slim": slim, "fold": fold, "pass": user_pass}


def main() -> None:
    """Do one order; others print to stdout as they please, the answer comes last."""
    order, refused = json.load(sys.stdin), None
    try:
        with contextlib.redirect_stdout(sys.stderr):
            done = _WORK[order["what"]](load_onnx(Path(order["model"])), order)
            save_onnx(done, Path(order["rewritten"]))
    except SpecError as error:
        refused = error.message
    except Exception as error:  # a supervisor's border: the parent explains it
        sys.exit(f"{type(error).__name__}: {error}")
    json.dump({"refused": refused}, sys.stdout)


if __name__ == "__main__":
    main()
