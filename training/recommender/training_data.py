"""The data that a recommender is trained on: MovieLens-100K, or the files that the command line names."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from models.card import DataSource
from models.errors import DataInvalid
from training.recommender import movielens
from training.recommender.feature_tables import FeatureTables, age_and_occupation, feature_tables
from training.recommender.feedback import read_feedback, with_feedback
from training.recommender.ids import print_join, with_ids
from training.recommender.interactions import Columns, Corpus, build_corpus
from training.recommender.params import Params
from training.report import note
from training.tables import Table, read_table, source


@dataclass(frozen=True, slots=True)
class TrainingData:
    """A corpus, where it came from, and the feature tables that are saved with the model."""

    corpus: Corpus
    source: DataSource
    feature_tables: FeatureTables


def load(params: Params) -> TrainingData:
    """Read the data that `params` names, with the feedback of a service if one is given. Raises DataInvalid."""
    data = _movielens() if params.interactions is None else _files(params)
    if params.feedback:
        events = read_feedback(params.feedback)
        note(f"{len(events):,} events of feedback")
        data = replace(data, corpus=with_feedback(data.corpus, events))
    _check(data)
    return data


def print_size(corpus: Corpus) -> None:
    """Print how much data there is."""
    dataset = corpus.dataset
    note(
        f"{dataset.interactions.nnz:,} interactions of {dataset.users:,} users with {dataset.items:,} items, "
        f"{len(corpus.user_encoder.names)} user and {len(corpus.item_encoder.names)} item features"
    )
    if dataset.dated_users is not None and dataset.user_features is not None:
        described = int((np.diff(dataset.user_features.indptr) > 0).sum())
        note(f"{described:,} of {dataset.users:,} users had attributes at their last interaction")


def _movielens() -> TrainingData:
    events, users, items = movielens.movielens_100k()
    tables = feature_tables(users, items, None, user="user_id", item="item_id", title="title")
    return TrainingData(
        corpus=movielens.corpus_of((events, users, items)),
        source=source([events, users, items], rows=len(events), name="MovieLens-100K (recbole 1.2.1)"),
        feature_tables=replace(tables, groups=age_and_occupation(users)),
    )


def _files(params: Params) -> TrainingData:
    ids = (params.user_column, params.item_column)
    paths = (params.interactions, params.users, params.items, params.groups)
    read = [read_table(path, delimiter=params.delimiter, text=ids) if path else None for path in paths]
    tables = [table and with_ids(table, ids) for table in read]
    events, users, items, groups = tables
    if events is None:
        raise DataInvalid("no interactions given")
    for table, column in ((users, params.user_column), (items, params.item_column), (groups, params.user_column)):
        if table is not None:
            print_join(events, table, column)
    corpus = _corpus(params, events, users, items)
    if repeated := len(events) - corpus.dataset.interactions.nnz:
        note(f"{repeated:,} of {len(events):,} rows repeat a user and an item: their weights are added")
    features = feature_tables(
        users, items, groups, user=params.user_column, item=params.item_column, title=params.title_column
    )
    return TrainingData(corpus, source(tables, rows=len(events)), features)


def _corpus(params: Params, events: Table, users: Table | None, items: Table | None) -> Corpus:
    columns = Columns(
        user=params.user_column,
        item=params.item_column,
        time=params.time_column,
        weight=params.weight_column,
        rating=params.rating_column,
        title=params.title_column,
    )
    return build_corpus(
        events,
        columns,
        users=users,
        items=items,
        user_attributes=params.user_attributes,
        item_attributes=params.item_attributes,
    )


def _check(data: TrainingData) -> None:
    dataset = data.corpus.dataset
    if dataset.users < 2 or dataset.items < 2:
        raise DataInvalid(
            f"{data.source.name} has {dataset.users} users and {dataset.items} items: at least 2 of each are needed"
        )
