"""Train the risk model, write `risk.onnx` and what the project has beside it.

The kit ships the results; this script is how to get them again:

    pip install scikit-learn skl2onnx
    python train.py

The data are scikit-learn's 442 diabetes patients. The model gives the probability that
the disease progresses more than in half of them; 110 patients are held back.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from skl2onnx import to_onnx
from skl2onnx.common.data_types import (
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

SEED = 0
HELD_BACK = 110
NUMBERS = ("bmi", "pressure", "triglycerides", "glucose")
HERE = Path(__file__).parent


def columns() -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the columns, each of shape (patients, 1), and the labels 0 and 1."""
    found = load_diabetes(scaled=False)
    raw = dict(zip(found.feature_names, found.data.T[:, :, np.newaxis], strict=True))
    rows = {
        "age": raw["age"].astype(np.int64),
        "sex": np.where(raw["sex"] == 1, "f", "m"),
        "bmi": raw["bmi"].astype(np.float32),
        "pressure": raw["bp"].astype(np.float32),
        "triglycerides": raw["s5"].astype(np.float32),
        "glucose": raw["s6"].astype(np.float32),
    }
    return rows, (found.target > np.median(found.target)).astype(np.int64)


def as_table(rows: dict[str, np.ndarray]) -> np.ndarray:
    """Join the columns as scikit-learn takes them."""
    return np.hstack([values.astype(object) for values in rows.values()])


def main() -> None:
    """Train, export, and score the held-back patients."""
    rows, labels = columns()
    kept, held = train_test_split(
        np.arange(len(labels)), test_size=HELD_BACK, stratify=labels, random_state=SEED
    )
    train = {name: values[kept] for name, values in rows.items()}
    test = {name: values[held] for name, values in rows.items()}
    model = make_pipeline(
        ColumnTransformer(
            [("sex", OneHotEncoder(handle_unknown="ignore"), [1])],
            remainder="passthrough",
        ),
        GradientBoostingClassifier(n_estimators=60, max_depth=2, random_state=SEED),
    )
    model.fit(as_table(train), labels[kept])
    export(model, HERE / "risk.onnx")
    reference = {
        name: "f" if name == "sex" else float(np.median(values))
        for name, values in train.items()
    }
    (HERE / "reasons" / "reference.json").write_text(
        json.dumps(reference, indent=2) + "\n"
    )
    stored = {name: bytes_of(values) for name, values in test.items()}
    np.savez_compressed(HERE / "data" / "test.npz", label=labels[held], **stored)
    first = {name: values[:8] for name, values in stored.items()}
    np.savez_compressed(HERE / "samples" / "patients.npz", **first)
    scores = model.predict_proba(as_table(test))[:, 1]
    auc = roc_auc_score(labels[held], scores)
    sys.stdout.write(f"AUC of {HELD_BACK} held-back patients: {auc:.3f}\n")


def bytes_of(values: np.ndarray) -> np.ndarray:
    """Return text as bytes, and numbers as they are."""
    return values.astype("S") if values.dtype.kind == "U" else values


def export(model: object, path: Path) -> None:
    """Write ONNX with an input per column, each of shape (batch, 1)."""
    inputs = [("age", Int64TensorType([None, 1])), ("sex", StringTensorType([None, 1]))]
    inputs += [(name, FloatTensorType([None, 1])) for name in NUMBERS]
    written = to_onnx(
        model,
        initial_types=inputs,
        target_opset={"": 18, "ai.onnx.ml": 3},
        options={"zipmap": False},
    )
    onnx.checker.check_model(written)
    onnx.save(written, path)


if __name__ == "__main__":
    main()
