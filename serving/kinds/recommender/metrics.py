"""Metrics of recommendations and feedback."""

from __future__ import annotations

from serving.observability.metrics import service_metrics


def count_recommendation(algorithm: str, reason: str | None, features: str | None) -> None:
    """Count a recommendation. `features` says whether the feature store had a row, where one was needed."""
    metrics = service_metrics()
    recommendations = metrics.counter("makunouchi_recommendations", "Recommendations answered.", "algorithm", "reason")
    metrics.count(recommendations, algorithm, reason or "personal")
    if features:
        rows = metrics.counter(
            "makunouchi_feature_rows",
            "Recommendations that needed features of a known user, by whether the feature store had a row.",
            "state",
        )
        metrics.count(rows, features)


def count_feedback(accepted: int, duplicates: int) -> None:
    """Count feedback events that were written."""
    metrics = service_metrics()
    events = metrics.counter("makunouchi_feedback_events", "Feedback events, by result.", "state")
    metrics.count(events, "accepted", number=accepted)
    metrics.count(events, "duplicate", number=duplicates)
