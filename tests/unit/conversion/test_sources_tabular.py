"""Fitted estimators become ONNX, and are held against themselves."""

import json
from importlib.util import find_spec

import onnx
import pytest

from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.errors import ConvertError, SpecError

NEEDED = ("sklearn", "skl2onnx", "onnxmltools", "lightgbm", "xgboost", "pandas")
pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in NEEDED),
    reason=f"not all of {', '.join(NEEDED)} are installed",
)
ESTIMATORS = """
import numpy as np
from sklearn import datasets, ensemble, linear_model, pipeline, preprocessing, svm
from sklearn.compose import ColumnTransformer


def rows(load, count=200):
    x, y = load(return_X_y=True)
    return x[:count].astype(np.float32), y[:count]


def classified(estimator):
    x, y = rows(datasets.load_breast_cancer)
    return estimator.fit(x, y), x[:32]


def regressed(estimator):
    x, y = rows(datasets.load_diabetes)
    return estimator.fit(x, y), x[:32]


def forest():
    return classified(ensemble.RandomForestClassifier(10))


def gradient_boosting_regressor():
    return regressed(ensemble.HistGradientBoostingRegressor(max_iter=10))


def lightgbm_classifier():
    import lightgbm

    return classified(lightgbm.LGBMClassifier(n_estimators=10, verbose=-1))


def xgboost_classifier():
    import xgboost

    return classified(xgboost.XGBClassifier(n_estimators=10))


def anomalies():
    x, _ = rows(datasets.load_diabetes)
    return ensemble.IsolationForest(n_estimators=10).fit(x), x[:32]


def without_example():
    x, y = rows(datasets.load_iris, 150)
    return linear_model.LogisticRegression().fit(x, np.array(["a", "b", "c"])[y])


def without_probabilities():
    x, y = rows(datasets.load_iris, 150)
    return svm.LinearSVC().fit(x, y)


def payments():
    import pandas as pd

    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "amount": rng.lognormal(3, 1, 400),
            "items": rng.integers(1, 9, 400),
            "country": rng.choice(["de", "fr", "us"], 400),
        }
    )
    is_fraud = (table.amount > 40) & (table.country == "us")
    columns = ColumnTransformer(
        [
            ("numbers", preprocessing.StandardScaler(), ["amount", "items"]),
            ("words", preprocessing.OneHotEncoder(), ["country"]),
        ]
    )
    model = pipeline.make_pipeline(columns, ensemble.RandomForestClassifier(10))
    return model.fit(table, is_fraud.map({True: "fraud", False: "fine"})), table[:64]


def named_columns():
    return payments()[0]
"""


@pytest.fixture
def converted(tmp_path):
    (tmp_path / "estimators.py").write_text(ESTIMATORS)

    def make(function, **fields):
        return convert(
            ConvertSpec(
                source=f"estimators:{function}",
                output=tmp_path / "model.onnx",
                root=tmp_path,
                **fields,
            )
        )

    return make


@pytest.mark.parametrize(
    ("function", "outputs"),
    [
        ("forest", {"label": (-1,), "probabilities": (-1, 2)}),
        ("gradient_boosting_regressor", {"prediction": (-1, 1)}),
        ("lightgbm_classifier", {"label": (-1,), "probabilities": (-1, 2)}),
        ("xgboost_classifier", {"label": (-1,), "probabilities": (-1, 2)}),
        ("anomalies", {"label": (-1, 1), "scores": (-1, 1)}),
    ],
)
def test_an_estimator_is_held_against_itself(converted, function, outputs):
    result = converted(function)

    assert {tensor.name: tensor.shape for tensor in result.outputs} == outputs
    assert [tensor.name for tensor in result.inputs] == ["input"]
    assert result.accuracy.data == "32 example rows of the source"
    assert result.accuracy.min_snr_db > 90


def test_the_columns_of_a_table_are_typed_inputs(converted):
    result = converted("payments", max_batch_size=8)

    inputs = {t.name: (t.dtype.name, t.shape) for t in result.inputs}
    assert inputs == {
        "amount": ("FP32", (-1, 1)),
        "items": ("INT64", (-1, 1)),
        "country": ("BYTES", (-1, 1)),
    }
    made = onnx.load(result.artifact)
    metadata = {prop.key: prop.value for prop in made.metadata_props}
    assert json.loads(metadata["class_labels"]) == ["fine", "fraud"]
    batches = {
        value.type.tensor_type.shape.dim[0].dim_param
        for value in (*made.graph.input, *made.graph.output)
    }
    assert batches == {"batch"}


def test_an_estimator_alone_takes_its_features(converted):
    result = converted("without_example")

    assert [tensor.shape for tensor in result.inputs] == [(-1, 4)]
    assert result.accuracy.data.startswith("random values")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("without_probabilities", "LinearSVC is no classifier with probabilities"),
        ("named_columns", "return (estimator, example rows)"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_the_reason(converted, function, words):
    with pytest.raises(ConvertError) as caught:
        converted(function)

    assert words in caught.value.message


def test_a_function_that_is_not_there_is_refused(converted):
    with pytest.raises(SpecError, match="has no attribute 'absent'"):
        converted("absent")
