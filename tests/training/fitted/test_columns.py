"""DataFrames and pipelines: the card follows their columns, and categories and gaps are served as in the pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from pydantic import ValidationError
from sklearn.cluster import KMeans
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder
from sklearn.tree import DecisionTreeClassifier

from models.card import Column
from tests.training.fitted.served_rows import X, Y, answers, customers, instances, shares, with_gaps
from training import save

pytestmark = pytest.mark.slow

NUMBERS, TEXTS = ["credit amount", "age"], ["größe", "city"]
FILLED = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())


def logistic(*steps: Any, **options: Any) -> Pipeline:
    return make_pipeline(make_column_transformer(*steps, **options), LogisticRegression(max_iter=1_000))


PIPELINES = {
    "one-hot": logistic((FILLED, NUMBERS), (OneHotEncoder(handle_unknown="ignore"), TEXTS)),
    "one-hot of filled": logistic(
        (FILLED, NUMBERS),
        (make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()), TEXTS),
    ),
    "one-hot of a word for gaps": logistic(
        (FILLED, NUMBERS),
        (make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OneHotEncoder(drop="first")), TEXTS),
    ),
    "remainder": logistic((OneHotEncoder(), TEXTS), remainder=SimpleImputer()),
    "selectors": logistic(
        (FILLED, make_column_selector(dtype_include="number")),
        (OneHotEncoder(), make_column_selector(dtype_exclude=["number", "bool"])),
    ),
    "integers and booleans one-hot": logistic(
        (OneHotEncoder(handle_unknown="ignore"), ["age", "is known"]), (SimpleImputer(), ["credit amount"])
    ),
    "codes": make_pipeline(
        make_column_transformer(
            (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["city"]), (FILLED, NUMBERS)
        ),
        RandomForestClassifier(8, random_state=0),
    ),
    "target means": make_pipeline(
        make_column_transformer((TargetEncoder(), ["city"]), (FILLED, NUMBERS)),
        LGBMClassifier(n_estimators=20, verbose=-1, n_jobs=1),
    ),
    "boosting of one-hot": make_pipeline(
        make_column_transformer((OneHotEncoder(sparse_output=False), TEXTS), remainder="passthrough"),
        HistGradientBoostingClassifier(max_iter=8),
    ),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines_over_tables(name: str, tmp_path: Path) -> None:
    frame, bought = customers()
    pipeline = PIPELINES[name].fit(frame, bought)
    artifact = save(pipeline, frame, pd.Series(bought, name="bought"), name="m", store=tmp_path)

    predictions = answers(artifact, frame)

    np.testing.assert_allclose(shares(predictions), pipeline.predict_proba(frame), atol=2e-6)
    assert [column.name for column in artifact.card.inputs] == list(frame.columns)
    assert artifact.card.outputs[0].description == "likeliest 'bought'"


def test_the_card_follows_the_columns(tmp_path: Path) -> None:
    frame, bought = customers()
    card = save(PIPELINES["one-hot"].fit(frame, bought), frame, name="m", store=tmp_path).card

    amount, age, known, size, city = card.inputs
    assert (amount.kind, amount.nullable, amount.required) == ("number", True, False)
    assert amount.minimum == frame["credit amount"].min()
    assert (age.kind, age.nullable, age.required, age.maximum) == ("integer", False, True, 69)
    assert known.kind == "boolean"
    assert (size.kind, size.nullable, size.categories) == ("category", True, ("large", "middling", "small"))
    assert (city.categories, city.accepts_unknown, city.nullable) == (("Oslo", "Rome"), True, False)
    first = instances(frame.dropna())[0]
    assert {column.name: column.example for column in card.inputs} == first
    assert card.profile is not None
    assert set(card.profile.categories) == {"is known", "größe", "city"}


def test_a_category_that_is_not_in_the_table_is_accepted_where_the_pipeline_accepts_it(tmp_path: Path) -> None:
    frame, bought = customers()
    row = frame.iloc[[0]].assign(city="Lima")
    accepting = PIPELINES["one-hot"].fit(frame, bought)
    (answered,) = answers(save(accepting, frame, name="m", store=tmp_path), row)
    np.testing.assert_allclose(list(answered["probabilities"].values()), accepting.predict_proba(row)[0], atol=2e-6)

    refusing = save(PIPELINES["one-hot of filled"].fit(frame, bought), frame, name="n", store=tmp_path)
    with pytest.raises(ValidationError, match="Input should be 'Oslo' or 'Rome'"):
        answers(refusing, row)


def test_categories_of_pandas_are_the_numbers_that_lightgbm_was_fitted_to(tmp_path: Path) -> None:
    frame, bought = customers()
    frame = frame.astype({"größe": pd.CategoricalDtype(["small", "middling", "large"]), "city": "category"})
    frame["rooms"] = pd.Categorical(frame["age"] % 3)
    model = LGBMClassifier(n_estimators=20, verbose=-1, min_child_samples=5, n_jobs=1).fit(frame, bought)

    # A sample of few rows has the same categories.
    artifact = save(model, frame.iloc[:10], name="m", store=tmp_path)
    predictions = answers(artifact, instances(frame.astype({"rooms": str})))

    assert artifact.card.inputs[3].categories == ("small", "middling", "large")
    np.testing.assert_allclose(shares(predictions), model.predict_proba(frame), atol=2e-6)


def numbers_of_customers() -> pd.DataFrame:
    frame, _ = customers()
    return frame[["credit amount", "age", "is known"]].fillna(0)


@pytest.mark.parametrize(
    ("pipeline", "frame"),
    [
        (logistic((StandardScaler(), NUMBERS), remainder="passthrough"), numbers_of_customers()),
        (
            make_pipeline(StandardScaler(), LogisticRegression()),
            numbers_of_customers().astype({"age": "Int64", "credit amount": "Float64", "is known": "boolean"}),
        ),
        (LogisticRegression(), pd.DataFrame(X)),
        (GridSearchCV(PIPELINES["one-hot"], {"logisticregression__C": [1, 2]}), customers()[0]),
    ],
    ids=["columns by name", "types with gaps", "columns by number", "search"],
)
def test_other_forms_of_tables(pipeline: Any, frame: pd.DataFrame, tmp_path: Path) -> None:
    _, bought = customers()
    artifact = save(pipeline.fit(frame, bought), frame, bought.tolist(), name="m", store=tmp_path)
    np.testing.assert_allclose(shares(answers(artifact, frame)), pipeline.predict_proba(frame), atol=2e-6)
    assert [column.name for column in artifact.card.inputs] == [str(name) for name in frame.columns]


def test_clusters_of_customers(tmp_path: Path) -> None:
    frame, _ = customers()
    steps = make_column_transformer((StandardScaler(), ["age"]), (OneHotEncoder(), ["city"]))
    pipeline = make_pipeline(steps, KMeans(3, random_state=0)).fit(frame)
    predictions = answers(save(pipeline, frame, name="m", store=tmp_path), frame)
    np.testing.assert_allclose([row["distances"] for row in predictions], pipeline.transform(frame), atol=1e-6)


def test_columns_of_an_array_are_numbered(tmp_path: Path) -> None:
    rows = with_gaps(X)
    card = save(HistGradientBoostingClassifier(max_iter=4).fit(rows, Y), rows, name="m", store=tmp_path).card
    assert [(column.name, column.nullable) for column in card.inputs] == [
        ("x0", False), ("x1", True), ("x2", False), ("x3", False), ("x4", False),
    ]  # fmt: skip

    whole = (10 * X).astype(np.int32)
    card = save(DecisionTreeClassifier().fit(whole, Y), whole, name="n", store=tmp_path).card
    assert {column.kind for column in card.inputs} == {"integer"}
    card = save(DecisionTreeClassifier().fit(X > 0, Y), X > 0, name="o", store=tmp_path).card
    assert {column.kind for column in card.inputs} == {"boolean"}


def test_one_row_is_enough(tmp_path: Path) -> None:
    model = LogisticRegression().fit(X, Y)
    artifact = save(model, X[:1], Y[:1], name="m", store=tmp_path)

    np.testing.assert_allclose(shares(answers(artifact, X)), model.predict_proba(X), atol=2e-6)
    assert set(artifact.card.metrics) == {"accuracy", "log_loss"}


def test_classes_can_be_named(tmp_path: Path) -> None:
    model = LogisticRegression().fit(X, Y)
    names = ["low", "middling", "high"]
    artifact = save(model, X, Y, name="m", classes=names, store=tmp_path)

    assert artifact.card.classes == tuple(names)
    predicted = [row["prediction"] for row in answers(artifact, X)]
    assert predicted == [names[number] for number in model.predict(X)]
    assert artifact.card.metrics["accuracy"] == pytest.approx(model.score(X, Y))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [(Y + 3, ("3", "4", "5")), (Y > 0, ("false", "true")), (np.where(Y > 0, "b", "a"), ("a", "b"))],
)
def test_labels_of_every_type_become_texts(labels: Any, classes: tuple[str, ...], tmp_path: Path) -> None:
    model = LogisticRegression().fit(X, labels)
    artifact = save(model, X, labels, name="m", store=tmp_path)
    assert artifact.card.classes == classes
    assert artifact.card.metrics["accuracy"] == pytest.approx(model.score(X, labels))


def test_integers_over_the_safe_ones_are_numbers(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": np.arange(len(X)) + 2**60, "x": X[:, 0]})
    card = save(DecisionTreeClassifier().fit(frame, Y), frame, name="m", store=tmp_path).card
    assert card.inputs[0].kind == "number"
    assert isinstance(card.inputs[1], Column)


def test_a_transformer_without_a_function_is_kept(tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(), LogisticRegression()).fit(X, Y)
    artifact = save(model, X, name="m", store=tmp_path)
    np.testing.assert_allclose(shares(answers(artifact, X)), model.predict_proba(X), atol=2e-6)
