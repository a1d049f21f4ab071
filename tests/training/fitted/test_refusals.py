"""What cannot be saved is refused in one sentence, with a way out, and the store stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier, LGBMRegressor
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import DBSCAN, Birch
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC
from xgboost import XGBClassifier, XGBRegressor

from models.errors import ArtifactInvalid, DataInvalid, GateNotMet, NotConvertible, ParityNotMet, TrainingError
from models.store.artifacts import find, versions
from tests.training.fitted.served_rows import LABELS, SEVERAL, TWO, XR, YR, X, Y, customers, with_gaps
from training import save
from training.fitted import estimators
from training.fitted.answers import ask
from training.fitted.sklearn_onnx import to_graph

pytestmark = pytest.mark.slow

WAY_OUT = "serve it as your own class with the kind 'python': see docs/own-models.md"
LGBM: dict[str, Any] = {"verbose": -1, "n_jobs": 1}
PAIRS = np.column_stack([TWO, Y == 1]).astype(int)
FITTED = LogisticRegression().fit(X, Y)
FRAME = pd.DataFrame(X, columns=list("abcde"))


class Doubling(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A transformer that no library knows."""

    def fit(self, rows: Any, labels: Any = None) -> Doubling:
        self.fitted_ = True
        return self

    def transform(self, rows: Any) -> Any:
        return 2 * rows


def categories() -> pd.DataFrame:
    frame, _ = customers()
    return frame.astype({"größe": "category", "city": "category"})


def refusal(error: type[TrainingError], tmp_path: Path, model: Any, rows: Any, y: Any = None, **options: Any) -> str:
    """Return the message of the refusal to save."""
    with pytest.raises(error) as refused:
        save(model, rows, y, name="m", store=tmp_path / "models", **options)
    assert not (tmp_path / "models").exists() or versions("m", store=tmp_path / "models") == []
    message = str(refused.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("model", "rows"),
    [
        (LogisticRegression(), X), (LGBMClassifier(), X), (XGBClassifier(), X), (CatBoostClassifier(), X),
        (HistGradientBoostingClassifier(), X), (make_pipeline(FunctionTransformer(), Ridge()), X),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_an_estimator_that_is_not_fitted(model: Any, rows: Any, tmp_path: Path) -> None:
    assert refusal(DataInvalid, tmp_path, model, rows).endswith("is not fitted; call fit(X, y) first")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (X[:, :3], "LogisticRegression cannot predict the rows of X: X has 3 features, but LogisticRegression is exp"),
        (X[0], "X has 1 dimensions (5,); give rows and columns, (N, F)"),
        (X[:0], "X has no rows; give the rows that the model was fitted to, or a sample of them"),
        (X[:, :0], "X has no columns"),
        (csr_array(X), "X is a sparse matrix; give X.toarray()"),
        (X.astype(object), "X is an array of type object; give numbers, or a DataFrame with one type per column"),
        (X.astype(str), "X is an array of type <U"),
        (with_gaps(X), "LogisticRegression cannot predict the rows of X: Input X contains NaN"),
        (np.where(X > 2, np.inf, X), "column 'x"),
        (FRAME.assign(a=np.nan), "column 'a' of X has no value at all"),
        (FRAME.assign(a=pd.Timestamp("2024-05-31")), "column 'a' of X is of type datetime64["),
        (FRAME.assign(a=pd.Series([1, "b"] * 100, dtype=object)), "column 'a' of X is of type object and holds mixed"),
        (FRAME.assign(a=[[1]] * 200), "column 'a' of X is of type object and holds mixed values"),
        (FRAME.set_axis(["a", "b", "b", "c", "d"], axis=1), "X has several columns named 'b'; rename them"),
        (FRAME.set_axis(["a", "b", " ", "c", "d"], axis=1), "column 2 of X has no name"),
        (FRAME.assign(a=[f"text {row}" for row in range(200)]), "LogisticRegression cannot predict the rows of X"),
        (pd.concat([FRAME], keys=["top"], axis=1), "the columns of X have several levels"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit(rows: Any, message: str, tmp_path: Path) -> None:
    model = LogisticRegression().fit(X, Y)
    assert refusal(DataInvalid, tmp_path, model, rows).startswith(message)


def test_more_texts_than_categories(tmp_path: Path) -> None:
    rows = pd.DataFrame({"a": [f"text {row}" for row in range(5_001)]})
    message = refusal(DataInvalid, tmp_path, FITTED, rows)
    assert "has 5,001 different texts, at most 5,000 are served as categories; for free text give a list" in message


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (Y[:-1], "y has 199 values, and X has 200 rows"),
        (np.where(Y == 2, 7, Y), "y holds '7', which is no class of the model: 0, 1, 2"),
        (pd.Series(Y).astype(float).mask(Y == 1), "y has missing values; leave these rows out of X and y"),
    ],
)
def test_true_values_that_do_not_fit(y: Any, message: str, tmp_path: Path) -> None:
    assert refusal(DataInvalid, tmp_path, FITTED, X, y) == message


def test_true_values_of_another_number_of_targets(tmp_path: Path) -> None:
    message = refusal(DataInvalid, tmp_path, Ridge().fit(XR, SEVERAL), XR, YR)
    assert message == "y has 1 columns, and the model predicts 3 targets"
    message = refusal(DataInvalid, tmp_path, Ridge().fit(XR, YR), XR, np.where(TWO, "yes", "no"))
    assert message.endswith("and the model predicts numbers")


@pytest.mark.parametrize("name", ["", "Churn", "my model", "../churn", "-churn", "c" * 64])
def test_a_name_that_is_not_valid(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactInvalid, match="is not a valid artifact name"):
        save(FITTED, X, name=name, store=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["a", "b"], "2 classes are named, and the model has 3: 0, 1, 2"),
        (["a", "b", "a"], "two classes have the same name"),
    ],
)
def test_names_of_classes_that_do_not_fit(classes: list[str], message: str, tmp_path: Path) -> None:
    assert refusal(DataInvalid, tmp_path, FITTED, X, classes=classes) == message


CANNOT = {
    "transformer": (make_pipeline(Doubling(), LogisticRegression()), X, Y, "Doubling cannot be written as ONNX; "),
    "function": (make_pipeline(FunctionTransformer(np.abs), LogisticRegression()), X, Y, "Pipeline cannot be written"),
    "no probabilities": (SVC(), X, Y, "SVC has no probabilities: fit CalibratedClassifierCV(SVC(...)) in"),
    "isotonic": (
        CalibratedClassifierCV(LogisticRegression(), method="isotonic"), X, Y,
        "isotonic calibration in CalibratedClassifierCV is not converted: use method='sigmoid', or ",
    ),
    "threshold": (TunedThresholdClassifierCV(LogisticRegression()), X, TWO, "TunedThresholdClassifierCV predicts ano"),
    "several classes": (RandomForestClassifier(4), X, LABELS, "RandomForestClassifier with several targets is not"),
    "clusters without centres": (DBSCAN(), X, None, "DBSCAN has no distances to the centres of its clusters: fit KM"),
    "unknown clusters": (Birch(), X, None, "Birch cannot be written as ONNX; "),
    "linear trees": (LGBMRegressor(**LGBM, linear_tree=True), XR, YR, "LightGBM's linear_tree and zero_as"),
    "one sigmoid each": (LGBMClassifier(**LGBM, objective="multiclassova"), X, Y, "the probabilities of LGBM"),
    "root of the target": (LGBMRegressor(**LGBM, reg_sqrt=True), XR, YR, "LightGBM's objective 'regression"),
    "linear boosting": (XGBRegressor(booster="gblinear"), XR, YR, "XGBoost's booster gblinear with the objective"),
    "vectors in leaves": (
        XGBRegressor(n_estimators=2, multi_strategy="multi_output_tree"), XR, SEVERAL,
        "XGBoost's trees with several outputs are not converted; ",
    ),
    "labels of xgboost": (XGBClassifier(n_estimators=2), X, PAIRS, "XGBoost's classifiers of several"),
}  # fmt: skip


@pytest.mark.parametrize("case", CANNOT)
def test_models_that_cannot_be_converted(case: str, tmp_path: Path) -> None:
    model, rows, y, message = CANNOT[case]
    refused = refusal(NotConvertible, tmp_path, model.fit(rows, y), rows, y)
    assert refused.startswith(message)
    assert refused.endswith(WAY_OUT)


@pytest.mark.parametrize(
    "model",
    [
        XGBClassifier(n_estimators=4, enable_categorical=True), HistGradientBoostingClassifier(max_iter=4),
        CatBoostClassifier(iterations=4, verbose=0, allow_writing_files=False, cat_features=["größe", "city"]),
    ],
    ids=["xgboost", "histograms", "catboost"],
)  # fmt: skip
def test_categories_inside_of_boosting(model: Any, tmp_path: Path) -> None:
    _, bought = customers()
    frame = categories()
    frame["größe"] = frame["größe"].cat.add_categories("none").fillna("none")
    refused = refusal(NotConvertible, tmp_path, model.fit(frame, bought), frame, bought)
    assert refused.endswith(WAY_OUT)


def test_a_graph_that_answers_otherwise(tmp_path: Path) -> None:
    labels = PAIRS
    model = MLPClassifier((4,), solver="lbfgs", max_iter=5_000, alpha=1.0).fit(X, labels)
    refused = refusal(ParityNotMet, tmp_path, model, X, labels)
    assert refused.startswith("ONNX Runtime and MLPClassifier differ by ")
    assert "more than 1e-04: not saved" in refused


def test_a_graph_that_agrees_on_the_given_rows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = RandomForestClassifier(4, random_state=0).fit(X, Y)

    def nearest(model: Any, rows: Any, given: Any, number_type: Any) -> bytes:
        """Return the graph of the nearest given row's answer: right for the given rows, wrong between them."""
        found = KNeighborsRegressor(1).fit(X, given.values)
        return to_graph(found, rows, ask(found, X), number_type)

    monkeypatch.setattr(estimators, "to_graph", nearest)
    assert "on rows like the given ones" in refusal(ParityNotMet, tmp_path, model, X, Y)


@pytest.mark.parametrize(
    ("min_metric", "y", "message"),
    [
        (0.999, Y, r"roc_auc 0\.\d+ on the given rows is below 0.999: not saved"),
        (0.5, None, "min_metric needs y, which the model is measured on: not saved"),
    ],
)
def test_a_model_below_the_gate(min_metric: float, y: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(GateNotMet, match=message):
        save(FITTED, X, y, name="m", min_metric=min_metric, store=tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_worse_version_is_saved_and_not_promoted(tmp_path: Path) -> None:
    good = save(FITTED, X, Y, name="m", store=tmp_path)
    stump = LGBMClassifier(n_estimators=1, num_leaves=2, verbose=-1, n_jobs=1).fit(X, Y)
    worse = save(stump, X, Y, name="m", store=tmp_path)
    assert find("m", store=tmp_path).version == good.version
    assert len(versions("m", store=tmp_path)) == 2
    assert worse.card.data == good.card.data

    forced = save(stump, X, Y, name="m", promote=True, store=tmp_path)
    assert find("m", store=tmp_path).version == forced.version


def test_a_version_that_predicts_other_targets_is_not_promoted(tmp_path: Path) -> None:
    model = Ridge().fit(XR, SEVERAL)
    first, other = (pd.DataFrame(SEVERAL, columns=list(names)) for names in ("abc", "abd"))
    present = save(model, XR, first, name="m", store=tmp_path)
    save(model, XR, other, name="m", store=tmp_path)
    assert find("m", store=tmp_path).version == present.version
    again = save(model, XR, first, name="m", store=tmp_path)
    assert find("m", store=tmp_path).version == again.version


def test_other_rows_have_another_fingerprint(tmp_path: Path) -> None:
    fingerprints = {
        save(FITTED, rows, y, name="m", store=tmp_path).card.data.sha256
        for rows, y in ((X, Y), (X, None), (X[::-1].copy(), Y), (FRAME.rename(columns=str.upper).to_numpy(), Y))
    }
    assert len(fingerprints) == 3


def test_the_artifact_holds_no_code(tmp_path: Path) -> None:
    artifact = save(FITTED, X, Y, name="m", store=tmp_path)
    assert {path.name for path in artifact.folder.iterdir()} == {
        "card.json", "manifest.json", "model.onnx", "model.yaml", "report.md",
    }  # fmt: skip
