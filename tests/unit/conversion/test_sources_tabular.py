"""Fitted estimators become ONNX, and are held against themselves."""

import json
from importlib.util import find_spec, module_from_spec, spec_from_file_location

import numpy as np
import onnx
import onnxruntime as ort
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


def lightgbm_booster():
    import lightgbm

    x, y = rows(datasets.load_iris, 150)
    settings = {"objective": "multiclass", "num_class": 3, "verbose": -1}
    return lightgbm.train(settings, lightgbm.Dataset(x, y), 5), x[:32]


def lightgbm_counts():
    import lightgbm

    x, y = rows(datasets.load_diabetes)
    settings = {"objective": "poisson", "verbose": -1}
    return lightgbm.train(settings, lightgbm.Dataset(x, y), 5), x[:32]


def xgboost_booster():
    import xgboost

    x, y = rows(datasets.load_iris, 150)
    settings = {"objective": "multi:softprob", "num_class": 3}
    return xgboost.train(settings, xgboost.DMatrix(x, y), 5), x[:32]


def ranking():
    import xgboost

    x, y = rows(datasets.load_iris, 150)
    return xgboost.train({"objective": "rank:pairwise"}, xgboost.DMatrix(x, y), 2), x


def booster_of_columns(order=("weight", "size")):
    import pandas as pd
    import xgboost

    x, y = rows(datasets.load_iris, 150)
    table = pd.DataFrame({"weight": x[:, 0], "size": (10 * x[:, 2]).astype(int)})
    matrix = xgboost.DMatrix(table, y > 1)
    booster = xgboost.train({"objective": "binary:logistic"}, matrix, 5)
    return booster, table[list(order)][:40]


def columns_in_another_order():
    return booster_of_columns(("size", "weight"))


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("estimators")
    (path / "estimators.py").write_text(ESTIMATORS)
    return path


@pytest.fixture(scope="module")
def functions(folder):
    spec = spec_from_file_location("estimators", folder / "estimators.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


@pytest.fixture
def exported(functions, tmp_path):
    """Exports what a function returns, in this process: to import all takes seconds."""
    from triton_kit.conversion.sources import tabular_worker

    def make(function):
        request = {
            "opset": 18,
            "onnx": str(tmp_path / "model.onnx"),
            "pickle": str(tmp_path / "estimator"),
            "samples": str(tmp_path / "rows.npz"),
        }
        tabular_worker.export(functions[function](), request)
        return ort.InferenceSession(request["onnx"])

    return make


def convert_estimator(folder, tmp_path, function, **fields):
    return convert(
        ConvertSpec(
            source=f"estimators:{function}",
            output=tmp_path / "model.onnx",
            root=folder,
            **fields,
        )
    )


CLASSIFIED = {"label": ["batch"], "probabilities": ["batch", 2]}
ONE_OF_THREE = {"label": ["batch"], "probabilities": ["batch", 3]}
PREDICTED = {"prediction": ["batch", 1]}


@pytest.mark.parametrize(
    ("function", "outputs"),
    [
        ("forest", CLASSIFIED),
        ("gradient_boosting_regressor", PREDICTED),
        ("lightgbm_classifier", CLASSIFIED),
        ("xgboost_classifier", CLASSIFIED),
        ("anomalies", {"label": ["batch", 1], "scores": ["batch", 1]}),
        ("lightgbm_booster", ONE_OF_THREE),
        ("lightgbm_counts", PREDICTED),
        ("xgboost_booster", ONE_OF_THREE),
        ("booster_of_columns", CLASSIFIED),
    ],
)
def test_an_export_computes_what_its_estimator_does(
    exported, tmp_path, function, outputs
):
    from triton_kit.conversion.sources import tabular_worker

    session = exported(function)

    assert {o.name: o.shape for o in session.get_outputs()} == outputs
    with np.load(tmp_path / "rows.npz") as found:
        feed = dict(found)
    assert [i.name for i in session.get_inputs()] == list(feed)
    np.savez(tmp_path / "feed.npz", *feed.values())
    tabular_worker.run(
        {
            "estimator": str(tmp_path / "estimator"),
            "feeds": [str(tmp_path / "feed.npz")],
            "names": list(feed),
            "ranks": [len(shape) for shape in outputs.values()],
            "folder": str(tmp_path),
        }
    )
    with np.load(tmp_path / "output_0.npz") as wanted:
        for name, value in zip(wanted, session.run(None, feed), strict=True):
            assert value.shape == wanted[name].shape
            np.testing.assert_allclose(value, wanted[name], rtol=1e-4, atol=1e-6)


def test_the_columns_of_a_table_are_typed_inputs(folder, tmp_path):
    result = convert_estimator(folder, tmp_path, "payments", max_batch_size=8)

    inputs = {t.name: (t.dtype.name, t.shape) for t in result.inputs}
    assert inputs == {
        "amount": ("FP32", (-1, 1)),
        "items": ("INT64", (-1, 1)),
        "country": ("BYTES", (-1, 1)),
    }
    assert result.accuracy.data == "64 example rows of the source"
    assert result.accuracy.min_snr_db > 90
    made = onnx.load(result.artifact)
    metadata = {prop.key: prop.value for prop in made.metadata_props}
    assert json.loads(metadata["class_labels"]) == ["fine", "fraud"]
    batches = {
        value.type.tensor_type.shape.dim[0].dim_param
        for value in (*made.graph.input, *made.graph.output)
    }
    assert batches == {"batch"}


def test_columns_of_a_booster_are_typed_inputs(exported):
    session = exported("booster_of_columns")

    found = {i.name: (i.type, i.shape) for i in session.get_inputs()}
    assert found == {
        "weight": ("tensor(float)", ["batch", 1]),
        "size": ("tensor(int64)", ["batch", 1]),
    }


def test_an_estimator_alone_takes_its_features(exported):
    session = exported("without_example")

    assert [(i.name, i.shape) for i in session.get_inputs()] == [
        ("input", ["batch", 4])
    ]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("without_probabilities", "LinearSVC is no classifier with probabilities"),
        ("ranking", "objective rank:pairwise is not known"),
        ("columns_in_another_order", "trained on ['weight', 'size']"),
    ],
)
def test_what_cannot_be_exported_says_why(exported, function, words):
    with pytest.raises(SystemExit) as caught:
        exported(function)

    assert words in str(caught.value.code)


def test_what_cannot_be_exported_is_refused_with_the_reason(folder, tmp_path):
    with pytest.raises(ConvertError) as caught:
        convert_estimator(folder, tmp_path, "named_columns")

    assert "return (estimator, example rows)" in caught.value.message


def test_a_function_that_is_not_there_is_refused(tmp_path):
    (tmp_path / "estimators.py").write_text("import numpy\n")

    with pytest.raises(SpecError, match="has no attribute 'absent'"):
        convert_estimator(tmp_path, tmp_path, "absent")
