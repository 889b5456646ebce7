"""The worker that has scikit-learn: exports a fitted estimator, or runs it."""

from __future__ import annotations

import json
import pickle
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto
from sklearn.base import is_classifier, is_outlier_detector, is_regressor

from triton_kit.conversion.onnx.onnx_file import save_onnx
from triton_kit.conversion.sources.boosters import TrainedBooster, is_booster
from triton_kit.conversion.sources.zipmap import LABELS
from triton_kit.conversion.workers.samples import read_feed, write_arrays
from triton_kit.conversion.workers.worker import Request

Json = Any
Estimator = Any  # scikit-learn has no types
Array = NDArray[Any]
ML_OPSET = 3  # of ai.onnx.ml: ONNX Runtime 1.17 and later ones open it
_TYPES = {
    "f": np.float32,
    "i": np.int64,
    "u": np.int64,
    "b": np.bool_,
    "O": np.str_,
    "U": np.str_,
}


def export(made: Any, request: Request) -> None:  # noqa: ANN401  of the user's function
    """Write the ONNX file, the estimator itself, and example rows if there are any."""
    warnings.simplefilter("ignore")
    estimator, example = made if isinstance(made, tuple) else (made, None)
    if is_booster(estimator):
        estimator = TrainedBooster(estimator)
    names, _ = _use(estimator)
    columns = _columns(estimator, example)
    if isinstance(estimator, TrainedBooster):
        model = estimator.to_onnx(columns, request["opset"])
    else:
        model = _exported(estimator, columns, request["opset"])
    _name_outputs(model, names)
    _keep_labels(model, estimator)
    _join_opsets(model)
    save_onnx(model, Path(request["onnx"]))
    with Path(request["pickle"]).open("wb") as file:
        pickle.dump(estimator, file)
    if example is not None:
        np.savez(request["samples"], **columns)


def _exported(
    estimator: Estimator, columns: Mapping[str, Array], opset: int
) -> ModelProto:
    from skl2onnx import convert_sklearn
    from skl2onnx.common import data_types

    kinds = {
        "f": data_types.FloatTensorType,
        "i": data_types.Int64TensorType,
        "b": data_types.BooleanTensorType,
        "U": data_types.StringTensorType,
    }
    _register_boosters()
    model: ModelProto = convert_sklearn(
        estimator,
        initial_types=[
            (name, kinds[array.dtype.kind]([None, array.shape[1]]))
            for name, array in columns.items()
        ],
        options={id(estimator): {"zipmap": False}}
        if is_classifier(estimator)
        else None,
        target_opset={"": opset, "ai.onnx.ml": ML_OPSET},
    )
    return model


def _columns(estimator: Estimator, example: Json) -> dict[str, Array]:
    """Return the inputs by name, each (rows, columns): those of a table, or `input`."""
    if example is None:
        if hasattr(estimator, "feature_names_in_"):
            sys.exit("it was fitted on named columns: return (estimator, example rows)")
        example = np.zeros((1, estimator.n_features_in_), np.float32)
    if not hasattr(example, "keys"):
        example = {"input": example}
    columns = {}
    for name in example.keys():  # noqa: SIM118  a DataFrame iterates otherwise
        array = np.asarray(example[name])
        array = array[:, np.newaxis] if array.ndim == 1 else array
        if array.dtype.kind not in _TYPES or array.ndim != 2:
            sys.exit(f"column {name!r} is {array.dtype}, {array.shape}: not a table's")
        columns[str(name)] = array.astype(_TYPES[array.dtype.kind])
    return columns


def _register_boosters() -> None:
    """Tell skl2onnx of LightGBM and XGBoost, as far as they are in use."""
    classes = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    if "lightgbm" in sys.modules:
        from onnxmltools.convert.lightgbm.operator_converters import LightGbm

        convert = LightGbm.convert_lightgbm
        _register("lightgbm", "LGBMClassifier", convert, classes)
        _register("lightgbm", "LGBMRegressor", convert, {"split": None})
    if "xgboost" in sys.modules:
        from onnxmltools.convert.xgboost.operator_converters import XGBoost

        convert = XGBoost.convert_xgboost
        _register("xgboost", "XGBClassifier", convert, classes)
        _register("xgboost", "XGBRegressor", convert, None)


def _register(
    package: str, kind: str, convert: Callable[..., None], options: Json
) -> None:
    from skl2onnx import update_registered_converter
    from skl2onnx.common import shape_calculator

    update_registered_converter(
        getattr(sys.modules[package], kind),
        f"{package}{kind}",
        shape_calculator.calculate_linear_classifier_output_shapes
        if kind.endswith("Classifier")
        else shape_calculator.calculate_linear_regressor_output_shapes,
        convert,
        options=options,
    )


def _name_outputs(model: ModelProto, names: Sequence[str]) -> None:
    """Name the outputs for their use, and the rows of all tensors `batch`."""
    if len(names) != len(model.graph.output):
        found = [output.name for output in model.graph.output]
        sys.exit(f"skl2onnx makes the outputs {found}, expected {list(names)}")
    new = {o.name: n for o, n in zip(model.graph.output, names, strict=True)}
    for node in model.graph.node:
        for values in (node.input, node.output):
            values[:] = [new.get(name, name) for name in values]
    for value in (*model.graph.input, *model.graph.output):
        value.name = new.get(value.name, value.name)
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


def _keep_labels(model: ModelProto, estimator: Estimator) -> None:
    if not isinstance(estimator, TrainedBooster) and is_classifier(estimator):
        labels = json.dumps(estimator.classes_.tolist())
        onnx.helper.set_model_props(model, {LABELS: labels})


def _join_opsets(model: ModelProto) -> None:
    """Import each operator set once, in the latest of the versions asked for."""
    versions: dict[str, int] = {}
    for one in model.opset_import:
        versions[one.domain] = max(one.version, versions.get(one.domain, 1))
    del model.opset_import[:]
    for domain, version in versions.items():
        model.opset_import.add(domain=domain, version=version)


def _use(estimator: Estimator) -> tuple[tuple[str, ...], list[Callable[..., Array]]]:
    """Return the names of an estimator's outputs, and what computes each."""
    is_trained = isinstance(estimator, TrainedBooster)
    if is_trained and not estimator.is_classifier:
        return ("prediction",), [estimator.predict]
    if is_trained or (is_classifier(estimator) and hasattr(estimator, "predict_proba")):
        return ("label", "probabilities"), [estimator.predict, estimator.predict_proba]
    if is_regressor(estimator):
        return ("prediction",), [estimator.predict]
    if is_outlier_detector(estimator):
        return ("label", "scores"), [estimator.predict, estimator.decision_function]
    if hasattr(estimator, "transform"):
        return ("features",), [estimator.transform]
    kind = type(estimator).__name__
    sys.exit(
        f"{kind} is no classifier with probabilities (CalibratedClassifierCV makes "
        "one), regressor, outlier detector or transformer"
    )


def run(request: Request) -> int:
    """Run the estimator on every feed; return the number of outputs."""
    warnings.simplefilter("ignore")
    with Path(request["estimator"]).open("rb") as file:
        estimator = pickle.load(file)
    names, functions = _use(estimator)
    for index, path in enumerate(request["feeds"]):
        rows = _table(read_feed(Path(path), request["names"]))
        arrays = [
            _plain(function(rows), rank)
            for function, rank in zip(functions, request["ranks"], strict=True)
        ]
        write_arrays(Path(request["folder"]) / f"output_{index}.npz", arrays)
    return len(names)


def _table(feed: Mapping[str, Array]) -> Json:
    if len(feed) == 1:
        return next(iter(feed.values()))
    import pandas as pd

    return pd.DataFrame({name: array[:, 0] for name, array in feed.items()})


def _plain(found: Array, rank: int) -> Array:
    """Return an output as ONNX has it: float32, int64 or text, with columns."""
    array = np.asarray(found)
    if array.dtype.kind in _TYPES:
        array = array.astype(_TYPES[array.dtype.kind])
    return array[:, np.newaxis] if array.ndim < rank else array
