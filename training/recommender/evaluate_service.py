"""The quality of a running recommender, measured over HTTP: python -m training.evaluate_service --url http://...

Every user with a test part is asked for, by the protocol of `training.evaluate` on MovieLens-100K, and
the figures are compared with those in the card of the model that answers. That model must not have learned from the
test part: it is made by `python -m training.recommender --holdout --seed N`, and its card says which part was held
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
from training.recommender.comparison import judge
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
    """Options of `python -m training.evaluate_service`. A service with keys gets that in the variable API_KEY."""

    url: str = option("http://127.0.0.1:3000", "address of the service")
    algorithms: tuple[str, ...] = option((), "which of the models served; all of them when empty")
    users_per_call: int = option(50, "users asked for at a time")
    json: bool = option(False, "end with one line of JSON: {algorithm: {metric: value}}")


@dataclass(frozen=True, slots=True)
class _Served:
    """The model that answers, as far as its card tells."""

    tag: str
    algorithms: tuple[str, ...]
    seed: int
    test_share: float
    figures: Mapping[str, Mapping[str, float]]


def main(params: Params) -> dict[str, dict[str, float]]:
    """Print both sets of figures side by side, and return those of the service.

    Raises DataInvalid when the model served cannot be measured so, ParityNotMet when figures differ.
    """
    client = ServiceClient(params.url)
    corpus, sha256 = _movielens()
    served = _served(client, sha256)
    names = params.algorithms or served.algorithms
    if unknown := [name for name in names if name not in served.algorithms]:
        raise DataInvalid(f"{served.tag} has no model '{unknown[0]}'; it has: {', '.join(served.algorithms)}")
    train, test = split(corpus.dataset, "random", test_share=served.test_share, seed=served.seed)
    users = np.flatnonzero(test.activity() > 0)
    found: dict[str, dict[str, float]] = {}
    for name in names:
        with step(f"asking {served.tag} for {K} items of {len(users)} users, {name}"):
            recommended = _ask(client, corpus, users, name, params.users_per_call)
        found[name] = dict(judge(recommended, users, train, test).metrics)
    print(_table(found, served.figures))
    if params.json:
        print(json.dumps({name: {key: round(value, 5) for key, value in each.items()} for name, each in found.items()}))
    _compare(found, served.figures)
    return found


def _movielens() -> tuple[Corpus, str]:
    tables = movielens.movielens_100k()
    return movielens.corpus_of(tables), source(list(tables), rows=len(tables[0]), name="MovieLens-100K").sha256


def _served(client: ServiceClient, sha256: str) -> _Served:
    model = client.bulk({"user_ids": ["1"], "n": 1})["model"]
    card = client.get(f"/v1/models/{model['name']}")
    tag, params = f"{model['name']}:{model['version']}", card["params"]
    if card["version"] != model["version"]:
        raise DataInvalid(f"{tag} answers, and the service shows the card of version {card['version']}; ask again")
    if not params.get("holdout") or "seed" not in params or "test_share" not in params:
        raise DataInvalid(
            f"{tag} has learned from the test part too, or does not say what was held out of it; serve one that is "
            "made by: python -m training.recommender --holdout --seed 0"
        )
    if card["data"]["sha256"] != sha256:
        raise DataInvalid(f"{tag} was trained on '{card['data']['name']}', not on the MovieLens-100K of this protocol")
    prefix = "split=random, model="
    figures = {name.removeprefix(prefix): each for name, each in card["slices"].items() if name.startswith(prefix)}
    names = next(column["categories"] for column in card["inputs"] if column["name"] == "model")
    return _Served(tag, tuple(names), int(params["seed"]), float(params["test_share"]), figures)


def _ask(client: ServiceClient, corpus: Corpus, users: np.ndarray, name: str, size: int) -> np.ndarray:
    """Columns of the items recommended to each user, (N, K), -1 for none."""
    column = {item: place for place, item in enumerate(corpus.item_ids)}
    recommended = np.full((len(users), K), -1, np.int64)
    strange: Counter[str] = Counter()
    for start in range(0, len(users), size):
        asked = [corpus.user_ids[row] for row in users[start : start + size]]
        body = {"user_ids": asked, "n": K, "filter_seen": True, "model": name}
        for place, result in enumerate(client.bulk(body)["results"], start):
            items = _items(result, name, strange)
            recommended[place, : len(items)] = [column[item] for item in items]
    for what, count in strange.items():
        console.print(f"  {count} answers: {what}", soft_wrap=True)
    return recommended


def _items(result: Mapping[str, Any], name: str, strange: Counter[str]) -> list[str]:  # Any: JSON
    """The ids in one answer. What makes an answer another one than the artifact's own is counted."""
    if result["status"] != "ok":
        raise DataInvalid(f"the service has no items for user '{result['user_id']}': {result['error']['detail']}")
    if result["reason"] is not None or result["algorithm"] != name:
        strange[f"by {result['algorithm']}, {result['reason']}"] += 1
    return [item["item_id"] for item in result["items"]]


def _compare(found: Mapping[str, Mapping[str, float]], expected: Mapping[str, Mapping[str, float]]) -> None:
    for name, figures in found.items():
        for key in _COMPARED:
            if not abs(figures[key] - expected[name][key]) < _TOLERANCE:
                raise ParityNotMet(
                    f"{name} as it is served has {key} {figures[key]:.4f}, its card says {expected[name][key]:.4f}; "
                    "events of feedback, other feature tables or another version between answers would explain it"
                )


def _table(found: Mapping[str, Mapping[str, float]], expected: Mapping[str, Mapping[str, float]]) -> str:
    lines = ["| model | of | " + " | ".join(_COMPARED) + " |", "|---" * (len(_COMPARED) + 2) + "|"]
    for name, figures in found.items():
        for of, values in (("service", figures), ("card", expected[name])):
            lines.append(f"| {name} | {of} | " + " | ".join(f"{values[key]:.4f}" for key in _COMPARED) + " |")
    return "\n".join(lines)
