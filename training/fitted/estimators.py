"""Saving of fitted estimators: scikit-learn, LightGBM, XGBoost and CatBoost, over rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from sklearn.pipeline import Pipeline

from models.card import Column
from models.errors import DataInvalid, NotConvertible
from models.store.artifacts import Artifact
from models.tabular.row_encoder import RowEncoder
from training.fitted.answers import Answers, Estimator, ask
from training.fitted.options import SaveOptions
from training.fitted.refusal import first_line, not_convertible
from training.fitted.rows import Rows, mixed, read_rows
from training.fitted.sklearn_onnx import NUMBER_TYPES, takes_columns, to_graph, unwrapped
from training.fitted.tables import Agreement, ConvertedTable, compare, save_table
from training.fitted.targets import target_names, true_values

# The distributions of the libraries that a fitted model may come from, by module.
_DISTRIBUTIONS = {
    "sklearn": ("scikit-learn",), "lightgbm": ("lightgbm",), "catboost": ("catboost",),
    "xgboost": ("xgboost", "xgboost-cpu"),
}  # fmt: skip
_UNKNOWN = "(a category that is not in X)"


def save_estimator(model: Estimator, given: Any, y: Any, options: SaveOptions) -> Artifact:
    """Save a fitted estimator. Raises DataInvalid, NotConvertible, ParityNotMet or GateNotMet."""
    model = unwrapped(model)
    rows = _with_categories_of(model, read_rows(given))
    truth = true_values(y, rows=len(rows))
    answers = ask(model, rows.given, classes=options.classes, targets=target_names(y))
    graph, agreement = _converted(model, rows, answers)
    if agreement.is_close:
        agreement = _with_mixed(model, rows, graph, agreement)
    if rows.has_categories and agreement.is_close:
        rows = _accepting_unknown(model, rows, graph)
    table = ConvertedTable(graph, rows, answers, agreement, algorithm_of(model), libraries_of(model))
    return save_table(table, truth, options)


def algorithm_of(model: Estimator) -> str:
    """Return the name of an estimator's class; of a pipeline, those of its steps."""
    if isinstance(model, Pipeline):
        return ", ".join(algorithm_of(step) for _, step in model.steps if step not in (None, "passthrough"))
    return type(model).__name__


def libraries_of(model: Estimator) -> tuple[str, ...]:
    """Return the installed distributions that a fitted model comes from."""
    from importlib.metadata import packages_distributions

    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    modules = dict.fromkeys(type(each).__module__.partition(".")[0] for each in (model, last))
    installed = packages_distributions()
    return tuple(
        name for module in modules for name in _DISTRIBUTIONS.get(module, ()) if name in installed.get(module, ())
    )


def _converted(model: Estimator, rows: Rows, answers: Answers) -> tuple[bytes, Agreement]:
    """Return the graph in the first type of numbers that agrees with the model, or else in the one that agrees best."""
    candidates: list[tuple[Agreement, bytes]] = []
    refusals: list[NotConvertible] = []
    for number_type in NUMBER_TYPES:
        try:
            graph = to_graph(model, rows, answers, number_type)
            agreement = compare(graph, rows.encoded, answers)
        except NotConvertible as refused:
            refusals.append(refused)
            continue
        except Exception as error:  # ONNX Runtime's errors have no common base but Exception
            refusals.append(not_convertible(f"{algorithm_of(model)} does not run as ONNX ({first_line(error)})"))
            continue
        candidates.append((agreement, graph))
        if agreement.is_close:
            break
    if not candidates:
        raise refusals[-1]
    agreement, graph = min(candidates, key=lambda candidate: candidate[0].difference)
    return graph, agreement


def _with_mixed(model: Estimator, rows: Rows, graph: bytes, agreement: Agreement) -> Agreement:
    """Return the agreement on the given rows and on others like them, where the model answers those."""
    others = mixed(rows)
    try:
        expected = ask(model, others.given)
    except DataInvalid:
        return agreement
    found = compare(graph, others.encoded, expected)
    return agreement.with_more(found)


def _with_categories_of(model: Estimator, rows: Rows) -> Rows:
    """Return the rows with the categories that LightGBM was fitted to: it takes their numbers."""
    known: Sequence[Sequence[object]] | None = getattr(getattr(model, "booster_", None), "pandas_categorical", None)
    if not known or takes_columns(model):
        return rows
    places = [place for place, column in enumerate(rows.columns) if column.kind == "category"]
    if len(places) != len(known):
        raise DataInvalid(f"X has {len(places)} columns of categories, and the model was fitted to {len(known)}")
    columns = list(rows.columns)
    for place, categories in zip(places, known, strict=True):
        columns[place] = replace(columns[place], categories=tuple(map(str, categories)))
    return rows.with_columns(columns)


def _accepting_unknown(model: Estimator, rows: Rows, graph: bytes) -> Rows:
    """Return the rows with the columns that accept unknown categories, as the model does and the graph agrees."""
    columns = list(rows.columns)
    for place, column in enumerate(rows.columns):
        if column.kind == "category" and takes_columns(model):
            accepting = replace(column, accepts_unknown=True)
            if _is_accepted(model, rows, place, accepting, graph):
                columns[place] = accepting
    return rows.with_columns(columns)


def _is_accepted(model: Estimator, rows: Rows, place: int, column: Column, graph: bytes) -> bool:
    row: pd.DataFrame = rows.given.iloc[[0]].copy()
    row.isetitem(place, pd.Series([_UNKNOWN], index=row.index, dtype=object))
    values = [list(each[:1]) for each in rows.values]
    values[place] = [_UNKNOWN]
    columns = [*rows.columns[:place], column, *rows.columns[place + 1 :]]
    try:
        expected = ask(model, row)
        encoded = RowEncoder.for_columns(columns).encode_columns(values)
        return compare(graph, encoded, expected).is_close
    except Exception:  # the model does not accept it, and neither will the service
        return False
