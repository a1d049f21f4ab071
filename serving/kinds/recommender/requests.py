"""The queries that a recommender's runner takes, made from requests."""

from __future__ import annotations

from typing import Any

from serving.errors.exceptions import FieldFault
from serving.kinds.recommender.schemas import BulkRecommendRequest, Choice, PerUser, RecommendOptions

Json = dict[str, Any]  # Any: JSON

# Fields that are no extras of a query.
_PLAIN = {"user_id", "user_ids", "per_user", "n", "filter_seen", "unknown_user"}


def query_of(user_id: str, options: RecommendOptions, extras: Json) -> Json:
    """Return the query of one user: a `models.recommender.online.messages.Query` as JSON."""
    return {"user_id": user_id, "n": options.n, "filter_seen": options.filter_seen, **extras}


def extras_of(options: RecommendOptions) -> Json:
    """Return what the request sets beyond the number of items; most requests set nothing."""
    if options.model_fields_set <= _PLAIN:
        return {}
    extras: Json = {}
    if options.model is not None:
        extras["model"] = options.model
    if options.history:
        extras["history"] = options.history
    if options.user_features:
        extras["user_features"] = options.user_features
    if options.explain:
        extras["explain"] = True
    if rules := _rules(options):
        extras["rules"] = rules
    return extras


def own_extras(user: PerUser) -> Json:
    """Return the history and the features of one user of several."""
    own: Json = {"history": user.history, "user_features": user.user_features}
    return {name: value for name, value in own.items() if value}


def each_user(request: BulkRecommendRequest) -> list[BulkRecommendRequest]:
    """Return a separate request for each user, in order. Raises FieldFault."""
    known = set(request.user_ids)
    for user_id in request.per_user:
        if user_id not in known:
            message = f"per_user names '{user_id[:100]}', who is not in user_ids"
            raise FieldFault(message, location=("body", "per_user", user_id), value_type="object")
    return [
        request.model_copy(
            update={
                "user_ids": [user_id],
                "per_user": {user_id: request.per_user[user_id]} if user_id in request.per_user else {},
            }
        )
        for user_id in request.user_ids
    ]


def _rules(options: RecommendOptions) -> Json:
    rules: Json = {
        name: {"ids": choice.ids, "categories": choice.categories}
        for name, choice in (("allow", options.allow), ("deny", options.deny))
        if isinstance(choice, Choice)
    }
    for name in ("categories", "diversity", "min_score", "max_per_category", "category_caps"):
        value = getattr(options, name)
        if value not in (None, 0.0, [], {}) or (name == "min_score" and value is not None):
            rules[name] = value
    return rules
