"""Recommendations from who interacted with what: python -m training.recommender

Reads interactions, and attributes of users and items; measures every chosen algorithm on interactions held back; fits
them again on everything; checks that serving agrees with LightFM; saves one artifact, or one for each algorithm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from rich.progress import Progress as Bar

from models.card import DataSource, Parity
from models.errors import DataInvalid, GateNotMet
from models.recommender.algorithms.base import Progress
from models.recommender.archive import Contents
from models.recommender.dataset.dataset import Dataset
from models.recommender.dataset.ids import IdIndex, StringArray
from models.recommender.ranking.two_stage import TwoStage
from models.recommender.registry import AnyAlgorithm
from models.store.artifacts import Artifact
from training.recipes import noted
from training.recommender import card
from training.recommender.artifacts import parts, save
from training.recommender.comparison import Measured, measure
from training.recommender.feature_tables import FeatureTables, age_and_occupation, feature_tables
from training.recommender.feedback import read_feedback, with_feedback
from training.recommender.indexing import index_large
from training.recommender.interactions import Columns, Corpus, build_corpus
from training.recommender.params import Params, algorithm, check
from training.recommender.parity import serving_parity
from training.recommender.splits import Split, split
from training.report import console, step
from training.tables import read_table, source


def main(params: Params) -> Artifact:
    """Train, measure, check and save: the artifact of the algorithm served by default.

    Raises TrainingError; nothing is saved then.
    """
    check(params)
    with step("reading interactions"):
        corpus, data, tables = _load(params)
        corpus = _with_feedback(corpus, params.feedback)
        _check_usable(params, corpus, data)
    _print_size(corpus)
    fitted: dict[str, AnyAlgorithm] = {}
    measured: dict[str, Mapping[str, Measured]] = {
        how: _measure_all(params, corpus, how, fitted if how == "random" else {}) for how in _splits(corpus)
    }
    served = params.algorithms[0]
    quality = measured["random"][served].metrics["ndcg@10"]
    if quality < params.min_metric:
        raise GateNotMet(
            f"{served} reaches ndcg@10 {quality:.4f}, the gate is {params.min_metric:g}: not saved; "
            "train longer, on more data, or lower --min-metric"
        )
    if params.holdout:
        fitted = {name: fitted[name] for name in params.algorithms}
        corpus = replace(corpus, dataset=fitted[served].dataset_)
    else:
        with step("fitting again on all interactions, for serving"):
            fitted = _fit_on_all(params, corpus)
    indexed = index_large(fitted, items_from=params.approximate_from)
    contents = Contents(
        users=IdIndex.of(corpus.user_ids),
        items=IdIndex.of(corpus.item_ids),
        titles=StringArray.of(corpus.titles),
        dataset=corpus.dataset,
        algorithms=fitted,
        default=served,
        user_encoder=corpus.user_encoder,
        item_encoder=corpus.item_encoder,
    )
    described = {key: getattr(params, key) for key in ("test_share", "seed", "min_metric", "holdout")} | indexed
    described |= noted("recommender")
    cards = [
        (
            card.build(part, name=name, data=data, measured=measured, parity=_parity(part), params=described),
            part,
        )
        for name, part in parts(contents, params.name, one_each=params.one_each)
    ]
    saved = [save(card, part, tables) for card, part in cards]
    return saved[0]


def _parity(contents: Contents) -> Parity | None:
    with step("comparing serving with the libraries that learned"):
        return serving_parity(list(contents.algorithms.values()))


def _load(params: Params) -> tuple[Corpus, DataSource, FeatureTables]:
    if params.interactions is None:
        from training.recommender import movielens

        events, users, items = movielens.movielens_100k()
        corpus = movielens.corpus_of((events, users, items))
        described = replace(
            feature_tables(users, items, None, user="user_id", item="item_id", title="title"),
            groups=age_and_occupation(users),
        )
        data = source([events, users, items], rows=len(events), name="MovieLens-100K (recbole 1.2.1)")
        return corpus, data, described
    ids = (params.user_column, params.item_column)
    tables = [
        read_table(path, delimiter=params.delimiter, text=ids) if path else None
        for path in (params.interactions, params.users, params.items, params.groups)
    ]
    found, users_table, items_table, groups_table = tables
    if found is None:
        raise DataInvalid("no interactions given")
    columns = Columns(
        user=params.user_column,
        item=params.item_column,
        time=params.time_column,
        weight=params.weight_column,
        rating=params.rating_column,
        title=params.title_column,
    )
    corpus = build_corpus(
        found,
        columns,
        users=users_table,
        items=items_table,
        user_attributes=params.user_attributes,
        item_attributes=params.item_attributes,
    )
    described = feature_tables(
        users_table,
        items_table,
        groups_table,
        user=params.user_column,
        item=params.item_column,
        title=params.title_column,
    )
    return corpus, source(tables, rows=len(found)), described


def _with_feedback(corpus: Corpus, url: str) -> Corpus:
    if not url:
        return corpus
    events = read_feedback(url)
    console.print(f"  {len(events):,} events of feedback", soft_wrap=True)
    return with_feedback(corpus, events)


def _check_usable(params: Params, corpus: Corpus, data: DataSource) -> None:
    dataset = corpus.dataset
    by_content = [name for name in params.algorithms if name in ("content", "content-knn")]
    if by_content and dataset.item_features is None:
        raise DataInvalid(
            f"{by_content[0]} needs attributes of items, and there are none; give --items, or leave it out"
        )
    if dataset.users < 2 or dataset.items < 2:
        raise DataInvalid(
            f"{data.name} has {dataset.users} users and {dataset.items} items: at least 2 of each are needed"
        )


def _splits(corpus: Corpus) -> tuple[Split, ...]:
    return ("random",) if corpus.dataset.times is None else ("random", "last")


def _measure_all(params: Params, corpus: Corpus, how: Split, fitted: dict[str, AnyAlgorithm]) -> Mapping[str, Measured]:
    """The figures of each algorithm; what was fitted for them is put into `fitted`."""
    train, test = split(corpus.dataset, how, test_share=params.test_share, seed=params.seed)
    names = dict.fromkeys((*params.algorithms, "popular"))
    which = {"random": "a random", "last": "the last"}[how]
    with step(f"measuring on {which} {params.test_share:.0%} of each user's interactions"):
        results = {}
        for name in names:
            fitted[name] = _fit(algorithm(params, name), train, fitted)
            results[name] = measure(fitted[name], train, test)
            figures = "  ".join(f"{key} {value:.4f}" for key, value in results[name].metrics.items())
            console.print(f"  {name:14} {figures}", soft_wrap=True)
    return results


def _fit_on_all(params: Params, corpus: Corpus) -> dict[str, AnyAlgorithm]:
    fitted: dict[str, AnyAlgorithm] = {}
    for name in params.algorithms:
        fitted[name] = _fit(algorithm(params, name), corpus.dataset, fitted)
    return fitted


def _fit(unfitted: AnyAlgorithm, dataset: Dataset, already: Mapping[str, AnyAlgorithm]) -> AnyAlgorithm:
    """Fit on `dataset`, unless one that is fitted on it has the same algorithm among its retrievers."""
    for other in already.values():
        same = other.retrievers_.get(unfitted.name) if isinstance(other, TwoStage) else None
        if same is not None and same.params == unfitted.params:
            return same
    with _bar(unfitted.name) as progress:
        return unfitted.fit(dataset, progress=progress)


@contextmanager
def _bar(name: str) -> Iterator[Progress]:
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_size(corpus: Corpus) -> None:
    dataset = corpus.dataset
    console.print(
        f"  {dataset.interactions.nnz:,} interactions of {dataset.users:,} users with {dataset.items:,} items, "
        f"{len(corpus.user_encoder.names)} user and {len(corpus.item_encoder.names)} item features",
        soft_wrap=True,
    )
    if dataset.dated_users is not None and dataset.user_features is not None:
        described = int((np.diff(dataset.user_features.indptr) > 0).sum())
        console.print(f"  {described:,} of {dataset.users:,} users had attributes at their last interaction")
