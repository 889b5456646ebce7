"""Native boosters of LightGBM and XGBoost become estimators that export themselves."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

Booster = Any  # lightgbm.Booster or xgboost.Booster
Array = NDArray[Any]
_MODULES = ("lightgbm", "xgboost")
_CLASSES = {
    "binary",
    "multiclass",
    "multiclassova",
    "binary:logistic",
    "multi:softprob",
}
_VALUES = ("reg", "count:", "poisson", "gamma", "tweedie", "quantile", "huber")
_MOST_OPSET = 15  # that onnxmltools 1.16 writes
_JOINED = "triton_kit_joined"


def is_booster(made: object) -> bool:
    """Say whether a function returned a native booster."""
    kind = type(made)
    return kind.__name__ == "Booster" and kind.__module__.partition(".")[0] in _MODULES


class TrainedBooster:
    """A booster, with the methods of an estimator that compute what its export does.

    Rows are (rows, features), of any number type; they are computed in float32.
    """

    def __init__(self, booster: Booster) -> None:
        self.package = type(booster).__module__.partition(".")[0]
        self.feature_names: list[str] | None = None
        if self.package == "xgboost":
            self.feature_names = booster.feature_names
            booster = booster.copy()
            booster.feature_names = None  # its converter takes f0, f1, ... only
            config = json.loads(booster.save_config())
            self.objective = str(config["learner"]["objective"]["name"])
            self.n_features_in_ = int(booster.num_features())
        else:
            names = list(booster.feature_name())
            is_named = names != [f"Column_{i}" for i in range(len(names))]
            self.feature_names = names if is_named else None
            self.objective = str(booster.dump_model()["objective"]).partition(" ")[0]
            self.n_features_in_ = len(names)
        self._booster = booster
        if not self.is_classifier and not self.objective.startswith(_VALUES):
            sys.exit(
                f"a booster of objective {self.objective} is not known; for classes, "
                "multi:softprob and binary:logistic are"
            )

    @property
    def is_classifier(self) -> bool:
        """Whether it predicts probabilities of classes."""
        return self.objective in _CLASSES

    def predict_proba(self, rows: Array) -> Array:
        """Return probabilities, (rows, classes)."""
        found = self._values(rows)
        if found.ndim == 1:
            found = np.stack([1 - found, found], axis=1)
        return found

    def predict(self, rows: Array) -> Array:
        """Return classes by number, or values: (rows,)."""
        if self.is_classifier:
            return np.asarray(np.argmax(self.predict_proba(rows), axis=1))
        return self._values(rows)

    def _values(self, rows: Array) -> Array:
        rows = np.asarray(rows, np.float32)
        if self.package == "xgboost":
            rows = sys.modules["xgboost"].DMatrix(rows)
        return np.asarray(self._booster.predict(rows))

    def to_onnx(self, columns: Mapping[str, Array], opset: int) -> ModelProto:
        """Export it with one input per column, or one of all features.

        Args:
            columns: example rows by input, (rows, features of that input).
            opset: the version of the default operator set.
        """
        import onnxmltools
        from onnxmltools.convert.common.data_types import FloatTensorType

        self._check_columns(columns)
        convert = getattr(onnxmltools, f"convert_{self.package}")
        is_joined = len(columns) > 1
        name = _JOINED if is_joined else next(iter(columns))
        model: ModelProto = convert(
            self._booster,
            initial_types=[(name, FloatTensorType([None, self.n_features_in_]))],
            target_opset=min(opset, _MOST_OPSET),
            **({"zipmap": False} if self.package == "lightgbm" else {}),
        )
        if is_joined:
            _join_columns(model, columns)
        if not any(one.domain == "" for one in model.opset_import):
            model.opset_import.add(domain="", version=_MOST_OPSET)
        model.ir_version = helper.find_min_ir_version_for(model.opset_import)
        return model

    def _check_columns(self, columns: Mapping[str, Array]) -> None:
        width = sum(array.shape[1] for array in columns.values())
        if width != self.n_features_in_:
            sys.exit(f"it has {self.n_features_in_} features, the rows have {width}")
        if any(array.dtype.kind in "OU" for array in columns.values()):
            sys.exit("a booster takes numbers, the rows have text")
        names = list(columns)
        if len(names) > 1 and self.feature_names not in (None, names):
            sys.exit(f"it was trained on {self.feature_names}, the rows have {names}")


def _join_columns(model: ModelProto, columns: Mapping[str, Array]) -> None:
    """Replace the one input by one per column, which a Concat joins."""
    graph = model.graph
    del graph.input[:]
    nodes, parts = [], []
    for name, array in columns.items():
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        graph.input.append(helper.make_tensor_value_info(name, kind, [None, 1]))
        parts.append(f"{name}_float")
        nodes.append(
            helper.make_node("Cast", [name], [parts[-1]], to=TensorProto.FLOAT)
        )
    nodes.append(helper.make_node("Concat", parts, [_JOINED], axis=1))
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)
