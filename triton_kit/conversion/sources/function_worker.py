"""The worker of functions that return a model: exports it, or runs it."""

from __future__ import annotations

import random
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

from triton_kit.conversion.onnx.passes import load_callable
from triton_kit.conversion.sources.boosters import is_booster
from triton_kit.conversion.workers.worker import Json, Request, import_named
from triton_kit.errors import SpecError


def work(request: Request) -> dict[str, Json]:
    """Do what a request asks of the model that a function returns.

    `missing` is a module that is not installed, `refused` says why there is no such
    function; else `framework` is the one of the model.
    """
    try:
        return _work(request)
    except ModuleNotFoundError as error:
        return {"missing": error.name}
    except SpecError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError):
            return {"missing": cause.name, "refused": error.message}
        return {"refused": error.message}


def _work(request: Request) -> dict[str, Json]:
    if request.get("estimator"):  # it was kept when it was exported
        import_named(request["source"].partition(":")[0], Path(request["root"]))
        return {"outputs": _worker("tabular").run(request)}
    function = load_callable(request["source"], "function", request["root"])
    _seed()
    made = function()
    first = made[0] if isinstance(made, tuple) else made
    is_estimator = hasattr(first, "get_params") and hasattr(first, "fit")
    if is_estimator or is_booster(first):
        _worker("tabular").export(made, request)
        return {"framework": "scikit-learn"}
    return {"framework": "torch", **_worker("torch").work(request | {"made": made})}


def _seed() -> None:
    """Give what a function draws one seed: it may be called again, to run the model."""
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def _worker(framework: str) -> ModuleType:
    return import_module(f"triton_kit.conversion.sources.{framework}_worker")
