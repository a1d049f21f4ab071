"""Recommendations from who interacted with what: python -m training.recommender

Reads interactions, and attributes of users and items; measures every chosen algorithm on interactions held back; fits
them again on everything; checks that serving agrees with LightFM; saves one artifact.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.progress import Progress as Bar

from models.card import Card, DataSource
from models.errors import DataInvalid, GateNotMet, InvalidInput
from models.recommender import archive
from models.recommender.approximate import APPROXIMATE_FROM
from models.recommender.archive import Contents
from models.recommender.base import Progress
from models.recommender.dataset import Dataset
from models.recommender.ids import IdIndex, Texts
from models.recommender.predictor import Recommender
from models.recommender.registry import ALGORITHMS, AnyAlgorithm
from models.recommender.two_level import TwoLevel
from models.store import Artifact, find, saving
from training import command, features, recommender_card
from training.command import option
from training.comparison import Measured, measure
from training.features import FeatureTables, age_and_occupation, feature_tables
from training.feedback import read_feedback, with_feedback
from training.indexing import index_large
from training.interactions import Columns, Corpus, build_corpus
from training.parity import serving_parity
from training.recipes import noted
from training.report import console, print_summary, step, write_report
from training.splits import Split, split
from training.tables import read_table, source

_LIGHTFM = ("lightfm-warp", "lightfm-bpr")
_LIGHTFM_OPTIONS = ("epochs", "factors", "learning_rate", "threads", "max_sampled")


@dataclass(frozen=True)
class Params:
    """What can be chosen on the command line."""

    interactions: Path | None = option(None, "CSV, parquet or .inter file of events; MovieLens-100K when not given")
    users: Path | None = option(None, "file of user attributes, one row per user")
    items: Path | None = option(None, "file of item attributes, one row per item")
    user_column: str = option("user_id", "column of user ids, in all files")
    item_column: str = option("item_id", "column of item ids, in all files")
    time_column: str = option("", "column of times: Unix seconds or ISO 8601")
    weight_column: str = option("", "column that says how much an event counts, above zero")
    rating_column: str = option("", "column of opinions, kept beside the events; all events count as interest")
    title_column: str = option("", "column of titles in the file of items")
    user_attributes: tuple[str, ...] = option((), "columns of users to learn from; all that fit when empty")
    item_attributes: tuple[str, ...] = option((), "columns of items to learn from; all that fit when empty")
    delimiter: str = option("", "delimiter of CSV files; found in the header when empty")
    algorithms: tuple[str, ...] = option(
        ("two-level", "lightfm-warp", "ease-session", "als", "ease", "item-knn", "user-knn", "popular"),
        "what to train; the first is served by default",
    )
    set: tuple[str, ...] = option((), "more hyperparameters: ALGORITHM.NAME=VALUE,...; lists are joined by +")
    epochs: int = option(20, "passes over the data (lightfm, also as a retriever of two-level)")
    factors: int = option(64, "length of the vectors (lightfm, also as a retriever)")
    learning_rate: float = option(0.03, "step size (lightfm, also as a retriever)")
    max_sampled: int = option(100, "negatives tried per positive at most (lightfm-warp, also as a retriever)")
    threads: int = option(1, "threads of lightfm; above 1 is faster and differs a little at every run")
    test_share: float = option(0.25, "share of each user's interactions held back for measuring")
    holdout: bool = option(False, "save what has not learned from the test share, to measure it as it is served")
    groups: Path | None = option(None, "file of groups of users: users and `group`, or one column per kind of group")
    feedback: str = option("", "SQLAlchemy URL of the service's feedback log, to learn from it too")
    approximate_from: int = option(
        APPROXIMATE_FROM, "items from which factor models are served by an approximate index"
    )
    min_metric: float = option(0.0, "quality gate: smallest ndcg@10 of the served algorithm")
    seed: int = option(0, "seed of splits and of training")
    name: str = option("recommender", "name of the artifact")


def main(params: Params) -> Artifact:
    """Train, measure, check and save. Raises TrainingError; nothing is saved then."""
    _check(params)
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
    with step("comparing serving with the libraries that learned"):
        parity = serving_parity(list(fitted.values()))
    contents = Contents(
        users=IdIndex.of(corpus.user_ids),
        items=IdIndex.of(corpus.item_ids),
        titles=Texts.of(corpus.titles),
        dataset=corpus.dataset,
        algorithms=fitted,
        default=served,
        user_encoder=corpus.user_encoder,
        item_encoder=corpus.item_encoder,
    )
    described = {key: getattr(params, key) for key in ("test_share", "seed", "min_metric", "holdout")} | indexed
    described |= noted("recommender")
    return _save(
        recommender_card.build(
            contents, name=params.name, data=data, measured=measured, parity=parity, params=described
        ),
        contents,
        tables,
    )


def _check(params: Params) -> None:
    if not params.algorithms:
        raise DataInvalid(f"no algorithm given; known: {', '.join(ALGORITHMS.names())}")
    if params.interactions is None and (params.users or params.items):
        raise DataInvalid("--users and --items go with --interactions; give it too, or none for MovieLens-100K")
    if params.holdout and params.feedback:
        raise DataInvalid("--holdout goes without --feedback: what is held out has to be known from the data alone")
    for name in params.algorithms:
        algorithm(params, name)


def algorithm(params: Params, name: str) -> AnyAlgorithm:
    """An unfitted algorithm with the hyperparameters of the command line. Raises DataInvalid for what it cannot be."""
    try:
        kind = ALGORITHMS.find(name)
    except InvalidInput as error:
        raise DataInvalid(str(error)) from error
    fields = {field.name: field for field in dataclasses.fields(kind.params_type)}
    chosen: dict[str, object] = {"seed": params.seed} if "seed" in fields else {}
    if name in _LIGHTFM:
        chosen |= {key: getattr(params, key) for key in _LIGHTFM_OPTIONS}
    if name == TwoLevel.name:
        usual = Params()
        changed = {key: getattr(params, key) for key in _LIGHTFM_OPTIONS if getattr(params, key) != getattr(usual, key)}
        chosen["settings"] = tuple(f"{each}.{key}={value}" for each in _LIGHTFM for key, value in changed.items())
    for setting in params.set:
        target, _, value = setting.partition("=")
        owner, _, key = target.rpartition(".")
        if owner not in params.algorithms:
            raise DataInvalid(f"--set {setting}: '{owner}' is not among --algorithms {','.join(params.algorithms)}")
        if owner == name:
            chosen[key] = _value(value, is_list=key in fields and isinstance(fields[key].default, tuple))
    try:
        return ALGORITHMS.create(name, chosen)
    except InvalidInput as error:
        raise DataInvalid(str(error)) from error


def _value(text: str, *, is_list: bool) -> object:
    if is_list:
        return tuple(_value(part, is_list=False) for part in text.split("+"))
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _load(params: Params) -> tuple[Corpus, DataSource, FeatureTables]:
    if params.interactions is None:
        from training import movielens

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
    with step(f"measuring on a {how} {params.test_share:.0%} of each user's interactions"):
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
        same = other.retrievers_.get(unfitted.name) if isinstance(other, TwoLevel) else None
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


def _save(card: Card, contents: Contents, tables: FeatureTables) -> Artifact:
    with step("saving"), saving(card) as folder:
        archive.write(contents, folder)
        features.write(tables, folder)
        write_report(card, folder)
    artifact = find(card.name)
    predictor = Recommender.load(artifact)
    predictor.recommend([predictor.example()])
    print_summary(card, tag=artifact.tag, folder=artifact.folder)
    return artifact


_DESCRIPTION = "Train a recommender on MovieLens-100K, or on files of your own, and save it into the model store."

if __name__ == "__main__":
    command.run(main, Params, description=_DESCRIPTION)
