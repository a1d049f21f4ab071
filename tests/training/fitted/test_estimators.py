"""Every family of fitted estimators: what is served is what the estimator answers, value by value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.compose import TransformedTargetRegressor
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, LocalOutlierFactor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR, LinearSVC, OneClassSVM
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier

from tests.training.fitted.served_rows import LABELS, SEVERAL, TWO, XR, YR, X, Y, answers, shares, with_gaps
from training import save

pytestmark = pytest.mark.slow

GAPS = with_gaps(X)
LGBM: dict[str, Any] = {"n_estimators": 8, "verbose": -1, "min_child_samples": 5, "n_jobs": 1}
CATBOOST: dict[str, Any] = {"iterations": 8, "verbose": 0, "allow_writing_files": False}
TEXTS = np.where(TWO, "yes", "no")

CLASSIFIERS = {
    "lightgbm": (LGBMClassifier(**LGBM), GAPS, Y),
    "lightgbm, two classes of text": (LGBMClassifier(**LGBM), GAPS, TEXTS),
    "lightgbm, forest": (LGBMClassifier(**LGBM, boosting_type="rf", subsample=0.6, subsample_freq=1), X, Y),
    "lightgbm, dart": (LGBMClassifier(**LGBM, boosting_type="dart"), X, Y),
    "xgboost": (XGBClassifier(n_estimators=8), GAPS, Y),
    "xgboost, two classes": (XGBClassifier(n_estimators=8), GAPS, TWO.astype(int)),
    "xgboost, forest": (XGBRFClassifier(n_estimators=8), X, Y),
    "catboost": (CatBoostClassifier(**CATBOOST), GAPS, Y),
    "catboost, two classes of text": (CatBoostClassifier(**CATBOOST), GAPS, TEXTS),
    "histograms": (HistGradientBoostingClassifier(max_iter=8), GAPS, Y),
    "histograms, booleans": (HistGradientBoostingClassifier(max_iter=8), GAPS, TWO),
    "forest": (RandomForestClassifier(8, random_state=0), X, Y),
    "extra trees": (ExtraTreesClassifier(8), X, Y),
    "gradient boosting": (GradientBoostingClassifier(n_estimators=8), X, Y),
    "ada boost": (AdaBoostClassifier(n_estimators=4), X, Y),
    "bagging": (BaggingClassifier(n_estimators=4), X, Y),
    "logistic regression": (LogisticRegression(), X, Y),
    "logistic regression, booleans": (LogisticRegression(), X, TWO),
    "discriminant analysis": (LinearDiscriminantAnalysis(), X, Y),
    "naive Bayes": (GaussianNB(), X, Y),
    "neighbours": (KNeighborsClassifier(), X, Y),
    "network": (MLPClassifier((6,), solver="lbfgs", max_iter=2_000), X, Y),
    "calibrated support vectors": (CalibratedClassifierCV(LinearSVC()), X, Y),
    "one against the rest": (OneVsRestClassifier(LogisticRegression()), X, Y),
    "vote": (VotingClassifier([("a", LogisticRegression()), ("b", LGBMClassifier(**LGBM))], voting="soft"), X, Y),
    "stack": (StackingClassifier([("a", GaussianNB()), ("b", HistGradientBoostingClassifier(max_iter=4))]), X, Y),
    "search": (GridSearchCV(make_pipeline(LogisticRegression()), {"logisticregression__C": [1, 2]}), X, Y),
    "imputer": (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler(), LogisticRegression()), GAPS, Y),
}  # fmt: skip
REGRESSORS = {
    "lightgbm": (LGBMRegressor(**LGBM), with_gaps(XR), YR),
    "lightgbm, poisson": (LGBMRegressor(**LGBM, objective="poisson"), XR, np.abs(YR)),
    "lightgbm, far from zero": (LGBMRegressor(**LGBM), XR, YR + 1e5),
    "xgboost": (XGBRegressor(n_estimators=8), with_gaps(XR), YR),
    "xgboost, gamma": (XGBRegressor(n_estimators=8, objective="reg:gamma"), XR, np.abs(YR) + 1),
    "xgboost, dart": (XGBRegressor(n_estimators=8, booster="dart", rate_drop=0.3), XR, YR),
    "catboost": (CatBoostRegressor(**CATBOOST), with_gaps(XR), YR),
    "catboost, poisson": (CatBoostRegressor(**CATBOOST, loss_function="Poisson"), XR, np.abs(YR)),
    "histograms": (HistGradientBoostingRegressor(max_iter=8), with_gaps(XR), YR),
    "histograms, gamma": (HistGradientBoostingRegressor(max_iter=8, loss="gamma"), XR, np.abs(YR) + 1),
    "forest": (RandomForestRegressor(8, random_state=0), XR, YR),
    "tree": (DecisionTreeRegressor(), XR, YR),
    "linear": (Ridge(), XR, YR),
    "poisson": (PoissonRegressor(), XR, np.abs(YR)),
    "support vectors": (SVR(), XR, YR),
    "gaussian process": (GaussianProcessRegressor(), XR, YR),
    "logarithm": (TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1), XR, np.abs(YR)),
    "scaled target": (TransformedTargetRegressor(Ridge(), transformer=StandardScaler()), XR, YR),
}
SEVERAL_REGRESSORS = {
    "linear": LinearRegression(),
    "forest": RandomForestRegressor(8, random_state=0),
    "xgboost": XGBRegressor(n_estimators=8),
    "one for each": MultiOutputRegressor(LGBMRegressor(**LGBM)),
    "pipeline": make_pipeline(StandardScaler(), MultiOutputRegressor(Ridge())),
}


@pytest.mark.parametrize("family", CLASSIFIERS)
def test_probabilities_of_classifiers(family: str, tmp_path: Path) -> None:
    model, rows, labels = CLASSIFIERS[family]
    artifact = save(model.fit(rows, labels), rows, labels, name="m", store=tmp_path)

    predictions = answers(artifact, rows)

    np.testing.assert_allclose(shares(predictions), model.predict_proba(rows), atol=2e-6)
    expected = [
        str(each).lower() if isinstance(each, bool | np.bool_) else str(each) for each in np.ravel(model.predict(rows))
    ]
    assert [row["prediction"] for row in predictions] == expected
    card = artifact.card
    assert card.task == "tabular-classification"
    assert card.parity is not None
    assert card.parity.max_difference < 1e-6
    assert card.parity.top1_agreement == 1
    assert card.parity.rows == 2 * len(rows)
    assert next(iter(card.metrics)) == "roc_auc"
    assert card.metrics["accuracy"] == pytest.approx(np.mean(np.ravel(model.predict(rows)) == labels))


@pytest.mark.parametrize("family", REGRESSORS)
def test_estimates_of_regressors(family: str, tmp_path: Path) -> None:
    model, rows, values = REGRESSORS[family]
    artifact = save(model.fit(rows, values), rows, values, name="m", store=tmp_path)

    predicted = [row["prediction"] for row in answers(artifact, rows)]

    expected = model.predict(rows)
    np.testing.assert_allclose(predicted, expected, atol=1e-4 * expected.std())
    assert artifact.card.task == "tabular-regression"
    assert artifact.card.metrics["r2"] == pytest.approx(r2_score(values, expected), abs=1e-6)


@pytest.mark.parametrize("family", SEVERAL_REGRESSORS)
def test_estimates_of_several_targets(family: str, tmp_path: Path) -> None:
    import pandas as pd

    model = SEVERAL_REGRESSORS[family].fit(XR, SEVERAL)
    named = pd.DataFrame(SEVERAL, columns=["low", "mean", "high"])
    artifact = save(model, XR, named, name="m", store=tmp_path)

    predictions = [row["prediction"] for row in answers(artifact, XR)]

    assert list(predictions[0]) == ["low", "mean", "high"]
    np.testing.assert_allclose([list(row.values()) for row in predictions], model.predict(XR), atol=1e-3)
    assert artifact.card.task == "tabular-multi-regression"
    assert set(artifact.card.slices) == {"target=low", "target=mean", "target=high"}
    assert artifact.card.metrics["mean_r2"] == pytest.approx(model.score(XR, SEVERAL), abs=1e-6)


@pytest.mark.parametrize("inner", [LogisticRegression(), LGBMClassifier(**LGBM)], ids=["linear", "lightgbm"])
def test_classes_of_several_targets(inner: Any, tmp_path: Path) -> None:
    model = MultiOutputClassifier(inner).fit(X, LABELS)
    artifact = save(model, X, LABELS, name="m", store=tmp_path)

    predictions = answers(artifact, X)

    assert artifact.card.task == "tabular-multi-class"
    assert [list(row["prediction"].values()) for row in predictions] == model.predict(X).astype(str).tolist()
    for target, expected in enumerate(model.predict_proba(X)):
        of_target = [list(row["probabilities"][f"y{target}"].values()) for row in predictions]
        np.testing.assert_allclose(of_target, expected, atol=2e-6)


def test_labels_that_a_row_may_have_or_not(tmp_path: Path) -> None:
    labels = np.column_stack([TWO, Y == 1]).astype(int)
    model = OneVsRestClassifier(LogisticRegression()).fit(X, labels)
    artifact = save(model, X, labels, name="m", store=tmp_path)

    predictions = answers(artifact, X)

    second = [[each["1"] for each in row["probabilities"].values()] for row in predictions]
    np.testing.assert_allclose(second, model.predict_proba(X), atol=2e-6)
    assert [list(row["prediction"].values()) for row in predictions] == model.predict(X).astype(str).tolist()


@pytest.mark.parametrize(
    "model",
    [KMeans(3, random_state=0), MiniBatchKMeans(3, random_state=0), make_pipeline(StandardScaler(), KMeans(3))],
    ids=["k-means", "mini batches", "pipeline"],
)
def test_clusters_and_distances(model: Any, tmp_path: Path) -> None:
    artifact = save(model.fit(X), X, name="m", store=tmp_path)

    predictions = answers(artifact, X)

    assert artifact.card.task == "tabular-clustering"
    np.testing.assert_allclose([row["distances"] for row in predictions], model.transform(X), atol=1e-5)
    assert [row["prediction"] for row in predictions] == model.predict(X).tolist()
    assert artifact.card.metrics == {}
    assert sum(each["rows"] for each in artifact.card.slices.values()) == len(X)


@pytest.mark.parametrize(
    "model",
    [IsolationForest(n_estimators=10, random_state=0), LocalOutlierFactor(novelty=True), OneClassSVM()],
    ids=["forest", "factor", "support vectors"],
)
def test_outliers_and_scores(model: Any, tmp_path: Path) -> None:
    truth = np.where(np.arange(len(X)) % 20, 1, -1)
    artifact = save(model.fit(X), X, truth, name="m", store=tmp_path)

    predictions = answers(artifact, X)

    assert artifact.card.task == "tabular-outliers"
    scores: NDArray[np.float64] = model.decision_function(X)
    np.testing.assert_allclose([row["score"] for row in predictions], scores, atol=1e-4 * scores.std())
    clear = np.abs(scores) > 1e-4 * scores.std()
    judged = np.array([row["prediction"] for row in predictions])
    np.testing.assert_array_equal(judged[clear] == "outlier", model.predict(X)[clear] == -1)
    assert set(artifact.card.metrics) == {"roc_auc"}


def test_boosting_that_stopped_early_answers_with_its_best_round(tmp_path: Path) -> None:
    first, second = slice(0, 100), slice(100, None)
    xgboost = XGBClassifier(n_estimators=60, learning_rate=0.9, early_stopping_rounds=2)
    xgboost.fit(X[first], Y[first], eval_set=[(X[second], Y[second])], verbose=False)
    assert xgboost.best_iteration + 1 < xgboost.get_booster().num_boosted_rounds()

    artifact = save(xgboost, X, Y, name="m", store=tmp_path)

    np.testing.assert_allclose(shares(answers(artifact, X)), xgboost.predict_proba(X), atol=2e-6)
