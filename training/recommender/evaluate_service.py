"""Evaluate a running recommender over HTTP: python -m training.evaluate_service --url http://...

The script requests recommendations for every user with a test part, under the protocol of `training.evaluate` on
MovieLens-100K, and compares the metrics with those in the card of the served model. That model must not have learned
from the test part: train it with `python -m training.recommender --holdout --seed N`. Its card says which part was held
out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.errors import DataInvalid, ParityNotMet
from training.command import option
from training.recommender import movielens
from training.recommender.evaluation import evaluate_recommendations
from training.recommender.interactions import Corpus
from training.recommender.ranking_metrics import K
from training.recommender.service_client import ServiceClient
from training.recommender.splits import split
from training.report import console, step
from training.tables import source

_COMPARED = (f"ndcg@{K}", f"p@{K}", f"r@{K}", f"map@{K}")
# Equal to the third decimal.
_TOLERANCE = 0.0005


@dataclass(frozen=True)
class Params:
    """Options of `python -m training.evaluate_service`. The variable API_KEY holds the key of a service with keys."""

    url: str = option("http://127.0.0.1:3000", "address of the service")
    algorithms: tuple[str, ...] = option((), "algorithms to evaluate; every served one when empty")
    users_per_call: int = option(50, "users in one request")
    json: bool = option(False, "end with one line of JSON: {algorithm: {metric: value}}")


@dataclass(frozen=True, slots=True)
class _ServedModel:
    """The served model, as its card describes it. `metrics` are by algorithm."""

    tag: str
    algorithms: tuple[str, ...]
    seed: int
    test_share: float
    metrics: Mapping[str, Mapping[str, float]]


def main(params: Params) -> dict[str, dict[str, float]]:
    """Print the metrics of the service and of the card side by side, and return those of the service.

    Raises DataInvalid when the served model cannot be evaluated, and ParityNotMet when metrics differ.
    """
    client = ServiceClient(params.url)
    corpus, sha256 = _movielens()
    served = _served_model(client, sha256)
    names = params.algorithms or served.algorithms
    if unknown := [name for name in names if name not in served.algorithms]:
        raise DataInvalid(f"{served.tag} has no model '{unknown[0]}'; it has: {', '.join(served.algorithms)}")
    train, test = split(corpus.dataset, "random", test_share=served.test_share, seed=served.seed)
    users = np.flatnonzero(test.activity() > 0)
    measured: dict[str, dict[str, float]] = {}
    for name in names:
        with step(f"requesting {K} items for each of {len(users)} users from {served.tag}, {name}"):
            recommended = _recommendations(client, corpus, users, name, params.users_per_call)
        measured[name] = dict(evaluate_recommendations(recommended, users, train, test).metrics)
    print(_table(measured, served.metrics))
    if params.json:
        rounded = {name: {key: round(value, 5) for key, value in each.items()} for name, each in measured.items()}
        print(json.dumps(rounded))
    _compare(measured, served.metrics)
    return measured


def _movielens() -> tuple[Corpus, str]:
    tables = movielens.movielens_100k()
    return movielens.corpus_of(tables), source(list(tables), rows=len(tables[0]), name="MovieLens-100K").sha256


def _served_model(client: ServiceClient, sha256: str) -> _ServedModel:
    model = client.bulk({"user_ids": ["1"], "n": 1})["model"]
    card = client.get(f"/v1/models/{model['name']}")
    tag, params = f"{model['name']}:{model['version']}", card["params"]
    if card["version"] != model["version"]:
        raise DataInvalid(f"{tag} answers, but the service shows the card of version {card['version']}; try again")
    if not params.get("holdout") or "seed" not in params or "test_share" not in params:
        raise DataInvalid(
            f"{tag} has learned from the test part too, or its card does not say what was held out; serve a model "
            "trained with: python -m training.recommender --holdout --seed 0"
        )
    if card["data"]["sha256"] != sha256:
        raise DataInvalid(f"{tag} was trained on '{card['data']['name']}', not on the MovieLens-100K of this protocol")
    prefix = "split=random, model="
    metrics = {name.removeprefix(prefix): each for name, each in card["slices"].items() if name.startswith(prefix)}
    names = next(column["categories"] for column in card["inputs"] if column["name"] == "model")
    return _ServedModel(tag, tuple(names), int(params["seed"]), float(params["test_share"]), metrics)


def _recommendations(client: ServiceClient, corpus: Corpus, users: np.ndarray, name: str, size: int) -> np.ndarray:
    """Return the columns of the items recommended to each user, (N, K). -1 marks an empty place."""
    column = {item: place for place, item in enumerate(corpus.item_ids)}
    recommended = np.full((len(users), K), -1, np.int64)
    fallbacks: Counter[str] = Counter()
    for start in range(0, len(users), size):
        user_ids = [corpus.user_ids[row] for row in users[start : start + size]]
        body = {"user_ids": user_ids, "n": K, "filter_seen": True, "model": name}
        for row, result in enumerate(client.bulk(body)["results"], start):
            items = _items(result, name, fallbacks)
            recommended[row, : len(items)] = [column[item] for item in items]
    for fallback, count in fallbacks.items():
        console.print(f"  {count} users: {fallback}", soft_wrap=True)
    return recommended


def _items(result: Mapping[str, Any], name: str, fallbacks: Counter[str]) -> list[str]:  # Any: JSON
    """Return the item ids of one result. Count results that came from another algorithm than `name`."""
    if result["status"] != "ok":
        raise DataInvalid(f"the service has no items for user '{result['user_id']}': {result['error']['detail']}")
    if result["reason"] is not None or result["algorithm"] != name:
        fallbacks[f"by {result['algorithm']}, {result['reason']}"] += 1
    return [item["item_id"] for item in result["items"]]


def _compare(measured: Mapping[str, Mapping[str, float]], expected: Mapping[str, Mapping[str, float]]) -> None:
    for name, metrics in measured.items():
        for key in _COMPARED:
            if not abs(metrics[key] - expected[name][key]) < _TOLERANCE:
                raise ParityNotMet(
                    f"served {name} has {key} {metrics[key]:.4f}, its card says {expected[name][key]:.4f}; possible "
                    "causes: feedback events, changed feature tables, or a version change between responses"
                )


def _table(measured: Mapping[str, Mapping[str, float]], expected: Mapping[str, Mapping[str, float]]) -> str:
    lines = ["| model | of | " + " | ".join(_COMPARED) + " |", "|---" * (len(_COMPARED) + 2) + "|"]
    for name, metrics in measured.items():
        for origin, values in (("service", metrics), ("card", expected[name])):
            lines.append(f"| {name} | {origin} | " + " | ".join(f"{values[key]:.4f}" for key in _COMPARED) + " |")
    return "\n".join(lines)
