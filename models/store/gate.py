"""The quality gate between two versions of a model: why one should not replace the other."""

from __future__ import annotations

from typing import Final

from models.card import Card
from models.store.artifacts import Artifact

# How much worse the main metric, the first one of the card, may be.
MARGIN: Final = 0.02

# Parts of the names of metrics of which less is better.
_LESS_IS_BETTER: Final = ("loss", "error", "rmse", "mae", "mse", "mape", "brier", "latency", "perplexity")


def objection_to(card: Card, present: Artifact, *, margin: float = MARGIN) -> str:
    """Return why a version with `card` should not replace `present`, or an empty text.

    Its task, classes or inputs differ, which would break clients, or its main metric is worse by more than `margin`.
    """
    other = present.card
    if other.task != card.task:
        return f"its task is {card.task}, and that of {present.tag} is {other.task}"
    if other.classes != card.classes:
        return f"its classes differ from those of {present.tag}"
    if [(column.name, column.kind) for column in other.inputs] != [
        (column.name, column.kind) for column in card.inputs
    ]:
        return f"its inputs differ from those of {present.tag}"
    metric = main_metric(card)
    if metric in other.metrics and _drop(metric, card, other) > margin:
        values = f"its {metric} is {card.metrics[metric]:.4f}, and that of {present.tag} is {other.metrics[metric]:.4f}"
        return f"{values}: worse by more than {margin:g}"
    return ""


def objection_to_promotion(candidate: Artifact, champion: Artifact, *, margin: float = MARGIN) -> str:
    """Return why `candidate` should not take the place of `champion`, or an empty text.

    Beyond `objection_to`, both need the same metric on the same data, because others do not compare.
    """
    ours, theirs = candidate.card, champion.card
    metric = main_metric(ours) or main_metric(theirs)
    for artifact in (candidate, champion):
        if metric not in artifact.card.metrics:
            missing = f"metric {metric}" if metric else "metrics"
            return f"the card of {artifact.tag} has no {missing}; train it again with an evaluation on held-out data"
        if not artifact.card.data.sha256:
            return f"the card of {artifact.tag} has no fingerprint of its data (data.sha256); save it with one"
    if ours.data.sha256 != theirs.data.sha256:
        return (
            f"it was trained and measured on other data ({fingerprint(ours)}) than {champion.tag} "
            f"({fingerprint(theirs)}); train both on the same data"
        )
    return objection_to(ours, champion, margin=margin)


def main_metric(card: Card) -> str:
    """Return the name of the metric that decides, or an empty text for a card without metrics."""
    return next(iter(card.metrics), "")


def fingerprint(card: Card) -> str:
    """Return the name of the training data and the beginning of its SHA-256."""
    return f"{card.data.name}, SHA-256 {card.data.sha256[:12] or 'unknown'}"


def _drop(metric: str, card: Card, other: Card) -> float:
    """Return how much worse the metric of `card` is than that of `other`."""
    drop = other.metrics[metric] - card.metrics[metric]
    # Rounded, so that 0.78 after 0.80 is not worse by more than 0.02.
    return round(-drop if any(part in metric.lower() for part in _LESS_IS_BETTER) else drop, 12)
