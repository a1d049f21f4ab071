"""Train a text classifier: `python -m training.text`, by default one that recognizes the language of a sentence.

TF-IDF of words and characters with logistic regression: chosen by cross-validation, calibrated, measured on held-out
rows, and saved as arrays, once the answers of serving agree with those of scikit-learn.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from models.card import Parity
from models.errors import GateNotMet, ParityNotMet
from models.store.artifacts import Artifact
from models.text.scorer import TextScorer
from models.text.weights import TextWeights, write_weights
from training.promotion import saving_version
from training.report import console, library_versions, print_summary, step, write_report
from training.text.card import Measured, make_card
from training.text.choice import METRIC, Choice, choose, fit
from training.text.corpus import Corpus
from training.text.export import to_weights
from training.text.features import Splitting
from training.text.params import Params, check, read

MAX_DIFFERENCE = 1e-4
DEFAULT_GATE = 0.85


def main(params: Params) -> None:
    """Train, save and print a summary."""
    artifact = train(params)
    print_summary(artifact.card, tag=artifact.tag, folder=artifact.folder)


def train(params: Params, *, store: Path | None = None) -> Artifact:
    """Train on the texts that `params` names and save the artifact into `store`.

    Raises DataInvalid, GateNotMet or ParityNotMet; then nothing is saved.
    """
    check(params)
    with step("read " + (params.data.name if params.data else "sentences in many languages")):
        corpus = read(params)
    console.print(f"  {len(corpus.texts):,} rows, {len(corpus.classes)} classes of '{corpus.target}'", markup=False)
    numbers = {label: number for number, label in enumerate(corpus.classes)}
    values = np.array([numbers[label] for label in corpus.labels], dtype=np.int64)
    seen, held_out = train_test_split(
        np.arange(len(values)), test_size=params.test_share, random_state=params.seed, stratify=values
    )
    # The matrices are sparse: more threads of linear algebra only wait for one another.
    with threadpool_limits(1):
        choice, fitted = _fit(params, corpus, values, seen)
        with step(f"measure on {len(held_out):,} held-out rows and compare with scikit-learn"):
            weights = to_weights(fitted)
            measured, parity = _measure(corpus, values, held_out, fitted, weights)
    _check_gate(params, measured.metrics()[METRIC])
    card = make_card(params, corpus, choice, weights, measured, parity)
    with step("save"), saving_version(card, is_forced=params.promote, store=store) as saved:
        write_weights(weights, saved.folder)
        write_report(card, saved.folder)
    return saved.artifact


def _fit(params: Params, corpus: Corpus, values: NDArray[np.int64], seen: NDArray[np.int64]) -> tuple[Choice, Pipeline]:
    splitting = Splitting(strip_accents=params.accents == "strip", max_terms=params.max_terms)
    texts = [corpus.texts[row] for row in seen]
    with step(f"choose the model by {params.folds}-fold cross-validation on {len(texts):,} rows"):
        choice = choose(texts, values[seen], splitting, folds=params.folds, seed=params.seed)
        for name, (mean, deviation) in choice.scores.items():
            mark = "*" if name == choice.best.name else " "
            console.print(f"  {mark} {name}: {METRIC} {mean:.4f} ± {deviation:.4f}", soft_wrap=True)
    with step("fit and calibrate"):
        return choice, fit(texts, values[seen], choice.best, splitting, classes=len(corpus.classes))


def _measure(
    corpus: Corpus, values: NDArray[np.int64], rows: NDArray[np.int64], fitted: Pipeline, weights: TextWeights
) -> tuple[Measured, Parity]:
    """Return the answers to the held-out rows. Raises ParityNotMet when serving's differ by over MAX_DIFFERENCE."""
    texts = tuple(corpus.texts[row] for row in rows)
    columns = fitted["features"].transform(texts)
    expected = fitted["model"].predict_proba(columns)
    served = TextScorer(weights).probabilities(texts)
    difference = float(np.abs(served - expected).max())
    if not difference <= MAX_DIFFERENCE:
        raise ParityNotMet(
            f"the answers of serving and scikit-learn differ by {difference:.2e}, more than {MAX_DIFFERENCE:.0e}"
        )
    versions = library_versions("scikit-learn", "numpy", "scipy")
    parity = Parity(
        reference=f"scikit-learn {versions['scikit-learn']}",
        runtime=f"numpy {versions['numpy']} and scipy {versions['scipy']}",
        rows=len(rows),
        max_difference=difference,
        top1_agreement=float((served.argmax(axis=1) == expected.argmax(axis=1)).mean()),
    )
    (calibrated,) = fitted["model"].calibrated_classifiers_
    uncalibrated = np.asarray(calibrated.estimator.predict_proba(columns), dtype=np.float64)
    # They are sums of float32, which scikit-learn's own metrics warn of.
    uncalibrated /= uncalibrated.sum(axis=1, keepdims=True)
    return Measured(texts, values[rows], uncalibrated, served), parity


def _check_gate(params: Params, reached: float) -> None:
    gate = DEFAULT_GATE if params.min_metric is None and params.data is None else params.min_metric
    if gate is not None and not reached >= gate:
        raise GateNotMet(f"{METRIC} {reached:.4f} on held-out rows is below {gate:g}: nothing was saved")
