"""Train recommenders from interactions: python -m training.recommender

Read interactions, and attributes of users and items. Evaluate every chosen algorithm on interactions that are held
out, then fit it again on all interactions. Check that serving agrees with the libraries that learned. Save one artifact
with all algorithms, or one artifact for each algorithm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from models.card import Parity, Scalar
from models.errors import GateNotMet
from models.recommender.archive import Contents
from models.recommender.dataset.dataset import Dataset
from models.recommender.dataset.ids import IdIndex, StringArray
from models.recommender.registry import AnyAlgorithm
from models.store.artifacts import Artifact
from training.recommender import card
from training.recommender.artifacts import parts, save
from training.recommender.evaluation import Evaluation, evaluate
from training.recommender.fitting import fit_all
from training.recommender.indexing import index_large
from training.recommender.interactions import Corpus
from training.recommender.params import Params, algorithm, check
from training.recommender.parity import serving_parity
from training.recommender.recipe import RECIPE
from training.recommender.selection import choose
from training.recommender.splits import Split, split
from training.recommender.training_data import load, print_size
from training.report import console, step

_CARD_OPTIONS = ("test_share", "seed", "min_metric", "holdout")
_SPLIT_LABELS: Mapping[Split, str] = {"random": "a random", "last": "the latest"}


@dataclass(frozen=True, slots=True)
class _SplitResult:
    """Algorithms fitted on the training part of one split, that part, and their evaluations on the rest."""

    train: Dataset
    fitted: Mapping[str, AnyAlgorithm]
    evaluations: Mapping[str, Evaluation]


def main(params: Params) -> Artifact:
    """Train, evaluate, check and save. Return the artifact of the algorithm that is served by default.

    Raises TrainingError; then nothing is saved.
    """
    check(params)
    with step("reading interactions"):
        data = load(params)
    print_size(data.corpus)
    chosen = choose(params, data.corpus.dataset)
    splits: tuple[Split, ...] = ("random", "last") if params.evaluate_latest else ("random",)
    results = {how: _evaluate_all(params, chosen, data.corpus, how) for how in splits}
    _check_gate(params, next(iter(chosen)), results["random"].evaluations)
    corpus, fitted = data.corpus, results["random"].fitted
    if params.holdout:
        corpus = replace(corpus, dataset=results["random"].train)
    else:
        with step("fitting again on all interactions, for serving"):
            fitted = fit_all(chosen, corpus.dataset)
    described: dict[str, Scalar] = {key: getattr(params, key) for key in _CARD_OPTIONS}
    described |= RECIPE.card_parameters()
    evaluations = {how: result.evaluations for how, result in results.items()}
    contents = _contents(corpus, {name: fitted[name] for name in chosen})
    described |= index_large(contents.algorithms, items_from=params.approximate_from)
    # All parts are checked before the first is saved.
    checked = [
        (
            card.build(
                part, name=name, data=data.source, evaluations=evaluations, parity=_parity(part), params=described
            ),
            part,
        )
        for name, part in parts(contents, params.name, one_each=params.one_each)
    ]
    saved = [save(part_card, part, data.feature_tables, is_forced=params.promote) for part_card, part in checked]
    return saved[0]


def _evaluate_all(params: Params, chosen: Mapping[str, AnyAlgorithm], corpus: Corpus, how: Split) -> _SplitResult:
    """Fit the chosen algorithms, and popularity as the baseline, without a part of the data; evaluate them on it."""
    train, test = split(corpus.dataset, how, test_share=params.test_share, seed=params.seed)
    compared = {"popular": algorithm(params, "popular")} | dict(chosen)
    with step(f"evaluating on {_SPLIT_LABELS[how]} {params.test_share:.0%} of each user's interactions"):
        fitted = fit_all(compared, train)
        evaluations = {name: evaluate(each, train, test) for name, each in fitted.items()}
        for name, evaluation in evaluations.items():
            figures = "  ".join(f"{key} {value:.4f}" for key, value in evaluation.metrics.items())
            console.print(f"  {name:14} {figures}", soft_wrap=True)
    return _SplitResult(train, fitted, evaluations)


def _check_gate(params: Params, served: str, evaluations: Mapping[str, Evaluation]) -> None:
    quality = evaluations[served].metrics["ndcg@10"]
    if quality < params.min_metric:
        raise GateNotMet(
            f"{served} reaches ndcg@10 {quality:.4f}, the gate is {params.min_metric:g}: not saved; "
            "train longer, on more data, or lower --min-metric"
        )


def _contents(corpus: Corpus, fitted: Mapping[str, AnyAlgorithm]) -> Contents:
    return Contents(
        users=IdIndex.of(corpus.user_ids),
        items=IdIndex.of(corpus.item_ids),
        titles=StringArray.of(corpus.titles),
        dataset=corpus.dataset,
        algorithms=fitted,
        default=next(iter(fitted)),
        user_encoder=corpus.user_encoder,
        item_encoder=corpus.item_encoder,
    )


def _parity(contents: Contents) -> Parity | None:
    with step("comparing serving with the libraries that learned"):
        return serving_parity(list(contents.algorithms.values()))
