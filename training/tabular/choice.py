"""Choose a model, or a mean of two, by the loss of out-of-fold predictions: log loss for classes, RMSE for numbers."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from sklearn.metrics import log_loss, r2_score, roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split

from training.report import console
from training.tabular.boosting import Values
from training.tabular.calibration import EPSILON, Calibration, fit_calibration
from training.tabular.candidates import BOOSTING, LINEAR, Candidate, PreparedModel

Answers = NDArray[np.float64]

BLEND = "blend"
# More rows do not improve the choice, and cross-validation costs folds x candidates fits.
_CHOICE_ROWS = 50_000
_MANY_ROWS = 20_000
_FOLDS_OF_MANY = 3
_BLEND_WEIGHTS = (0.3, 0.5, 0.7)
# A simpler model is chosen while its loss is at most this much higher.
_TOLERANCE = 0.01


@dataclass(frozen=True, slots=True)
class Part:
    """A candidate with its rounds, and its weight in the mean of the answers."""

    candidate: Candidate
    weight: float
    rounds: int


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen model, and the mean and standard deviation over the folds of each candidate's loss.

    `margin` is its lead over the best of another family. `calibration` is None for numbers, and where plain
    probabilities are better.
    """

    name: str
    parts: tuple[Part, ...]
    scores: dict[str, tuple[float, float]]
    metric: str
    margin: float
    calibration: Calibration | None


@dataclass(frozen=True)
class _Trial:
    """The predictions of one model for the held-out rows of each split."""

    name: str
    family: str
    parts: tuple[Part, ...]
    predicted: tuple[Answers, ...]
    values: Values
    splits: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]

    @functools.cached_property
    def losses(self) -> list[float]:
        """The loss in each split."""
        return [
            _loss(self.values[test], answers) for answers, (_, test) in zip(self.predicted, self.splits, strict=True)
        ]

    @property
    def loss(self) -> float:
        """The mean loss."""
        return float(np.mean(self.losses))

    def answers(self) -> Answers:
        """Return the predictions of all rows, each by the model that has not seen it."""
        answers = np.empty((len(self.values), self.predicted[0].shape[1]))
        for predicted, (_, test) in zip(self.predicted, self.splits, strict=True):
            answers[test] = predicted
        return answers


def choose(
    candidates: Sequence[Candidate], rows: NDArray[np.float64], values: Values, *, folds: int, seed: int
) -> Choice:
    """Compare the candidates, and means of the best linear one and the best boosting, across the folds."""
    is_classes = values.dtype.kind == "i"
    values, _, scale = standardized(values)
    rows, values = _sample(rows, values, seed)
    folds = min(folds, _FOLDS_OF_MANY) if len(rows) > _MANY_ROWS else folds
    if is_classes:
        folds = max(2, min(folds, int(np.bincount(values.astype(np.int64)).min())))
    splits = list(
        (StratifiedKFold if is_classes else KFold)(folds, shuffle=True, random_state=seed).split(rows, values)
    )
    trials = _trials(candidates, rows, values, splits)
    best = {family: min(_of(trials, family), key=lambda trial: trial.loss) for family in (LINEAR, BOOSTING)}
    blends = [_blend(best[LINEAR], best[BOOSTING], weight) for weight in _BLEND_WEIGHTS]
    ranked = [best[LINEAR], best[BOOSTING], min(blends, key=lambda trial: trial.loss)]
    lowest = min(trial.loss for trial in ranked)
    chosen = next(trial for trial in ranked if trial.loss <= lowest + _TOLERANCE * abs(lowest))
    others = min(trial.loss for trial in ranked if trial.family != chosen.family)
    calibration = fit_calibration(values.astype(np.int64), chosen.answers(), seed=seed) if is_classes else None
    scores = {trial.name: (scale * trial.loss, scale * float(np.std(trial.losses))) for trial in (*trials, ranked[-1])}
    metric = "log_loss" if is_classes else "rmse"
    return Choice(chosen.name, chosen.parts, scores, metric, scale * (others - chosen.loss), calibration)


def main_score(values: Values, answers: Answers) -> float:
    """Return the metric of the gate: area under the ROC curve (macro, one against the rest) for probabilities
    (N, K >= 2), R² for estimates (N, 1)."""
    if answers.shape[1] == 1:
        return float(r2_score(values, answers[:, 0]))
    if answers.shape[1] == 2:
        return float(roc_auc_score(values, answers[:, 1]))
    labels = np.arange(answers.shape[1])
    return float(roc_auc_score(values, answers, multi_class="ovr", labels=labels))


def standardized(values: Values) -> tuple[Values, float, float]:
    """Return values with mean 0 and standard deviation 1, the mean and the standard deviation. Classes stay."""
    if values.dtype.kind == "i":
        return values, 0.0, 1.0
    mean, scale = float(values.mean()), float(values.std())
    return ((values - mean) / scale).astype(np.float64), mean, scale


def _sample(rows: NDArray[np.float64], values: Values, seed: int) -> tuple[NDArray[np.float64], Values]:
    """Return at most _CHOICE_ROWS rows. All rows of a rare class stay, so that every fold has some."""
    if len(rows) <= _CHOICE_ROWS:
        return rows, values
    if values.dtype.kind != "i":
        places = np.random.default_rng(seed).choice(len(rows), _CHOICE_ROWS, replace=False)
        return rows[places], values[places]
    counts = np.bincount(values.astype(np.int64))
    is_rare = counts[values.astype(np.int64)] < 2 * len(rows) / _CHOICE_ROWS * 50
    common = np.flatnonzero(~is_rare)
    labels = values[common] if len(np.unique(values[common])) > 1 else None
    places, _ = train_test_split(common, train_size=_CHOICE_ROWS, stratify=labels, random_state=seed)
    places = np.concatenate([places, np.flatnonzero(is_rare)])
    return rows[places], values[places]


def _trials(
    candidates: Sequence[Candidate],
    rows: NDArray[np.float64],
    values: Values,
    splits: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> list[_Trial]:
    jobs = list(itertools.product(candidates, splits))
    fitted: dict[str, list[PreparedModel]] = {candidate.name: [] for candidate in candidates}
    for candidate, (train, test) in track(jobs, description="  cross-validation", console=console, transient=True):
        model = candidate.make(0).fit(rows[train], values[train], valid=(rows[test], values[test]))
        fitted[candidate.name].append(model)
    return [_trial(candidate, fitted[candidate.name], rows, values, splits) for candidate in candidates]


def _trial(
    candidate: Candidate,
    models: Sequence[PreparedModel],
    rows: NDArray[np.float64],
    values: Values,
    splits: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> _Trial:
    """Return the mean out-of-fold predictions of models with one number of rounds: each fold's own is too good."""
    rounds = round(float(np.mean([model.rounds for model in models])))
    predicted = []
    for model, (_, test) in zip(models, splits, strict=True):
        model.rounds = rounds
        predicted.append(model.predict(rows[test]))
    # The model that is fitted to all rows has more of them, and needs more rounds.
    share = len(splits[0][0]) / len(rows)
    parts = (Part(candidate, 1.0, round(rounds / share)),)
    return _Trial(candidate.name, candidate.family, parts, tuple(predicted), values, splits)


def _of(trials: Sequence[_Trial], family: str) -> list[_Trial]:
    return [trial for trial in trials if trial.family == family]


def _blend(linear: _Trial, boosting: _Trial, weight: float) -> _Trial:
    predicted = tuple(
        (1 - weight) * one + weight * other for one, other in zip(linear.predicted, boosting.predicted, strict=True)
    )
    parts = tuple(
        Part(trial.parts[0].candidate, round(share, 2), trial.parts[0].rounds)
        for trial, share in ((linear, 1 - weight), (boosting, weight))
    )
    name = " + ".join(f"{part.weight:g} x {part.candidate.name}" for part in parts)
    return _Trial(name, BLEND, parts, predicted, linear.values, linear.splits)


def _loss(values: Values, answers: Answers) -> float:
    if answers.shape[1] == 1:
        return float(np.sqrt(np.mean((values - answers[:, 0]) ** 2)))
    clipped = np.clip(answers, EPSILON, 1 - EPSILON)
    return float(log_loss(values, clipped / clipped.sum(axis=1, keepdims=True), labels=np.arange(answers.shape[1])))
