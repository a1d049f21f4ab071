"""Everything that the recommender's runner is asked, as JSON: {"ask": KIND, ...}, and without "ask" a recommendation.

    similar_users  user_id n model        user_groups  user_id n         user      user_id n
    similar_items  item_id n model        item         item_id           top_items n window_days category
    items          query category year_from year_to after offset limit

The answer is {"found": ...}, or {"error", "error_kind", "location"}. Knows JSON and who answers what.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from models.blas import use_threads
from models.errors import InputError, InvalidInput, NotKnown
from models.recommender.online.items import ItemCatalog
from models.recommender.online.predictor import Query, Recommender
from models.recommender.online.recent_events import RecentEvents
from models.recommender.online.users import Users
from models.store.artifacts import Artifact

log = logging.getLogger("makunouchi.recommender")

Json = dict[str, Any]  # Any: JSON


class Dispatcher:
    """Answers questions of every kind about one recommender."""

    def __init__(self, recommender: Recommender) -> None:
        self.recommender = recommender
        self.artifact = recommender.artifact
        self.people = Users(recommender.knowledge)
        self.catalogue = ItemCatalog(recommender.knowledge)
        self._answers: Mapping[str, Callable[[Json], object]] = {
            "similar_users": self._similar_users,
            "user_groups": self._user_groups,
            "user": self._user,
            "item": self._item,
            "similar_items": self._similar_items,
            "items": self._items,
            "top_items": self._top_items,
        }

    @classmethod
    def load(
        cls, artifact: Artifact, *, features: str = "", features_ttl_s: float = 60.0, recent: RecentEvents
    ) -> Self:
        """Open an artifact. `features` is the folder of the feature tables, "" for that beside it.

        From then on linear algebra has one thread in this process. Raises ArtifactInvalid.
        """
        folder = Path(features) if features else None
        recommender = Recommender.load(artifact, features=folder, features_ttl_s=features_ttl_s, recent=recent)
        use_threads(1)
        return cls(recommender)

    def example(self) -> list[Json]:
        """One valid question, for warm-up and probes."""
        return [self.recommender.example().to_json()]

    def warm_up(self) -> None:
        """Answer one question, and make what is made once. Raises what the recommender raises."""
        example = self.recommender.example()
        # A history needs sums over all items, which take seconds for a million of them and are kept.
        history = (self.recommender.contents.items[0],)
        self.recommender.recommend([example, dataclasses.replace(example, history=history)])
        self.recommender.knowledge.facts()
        self.catalogue.warm_up()

    def answer(self, questions: Sequence[Json]) -> list[Json]:
        """One answer per question, in order. A question at fault does not touch the others."""
        answers: list[Json] = [{}] * len(questions)
        queries: dict[int, Query] = {}
        for place, question in enumerate(questions):
            if "ask" in question:
                answers[place] = self._other(question)
                continue
            try:
                queries[place] = Query.from_json(question)
            except InputError as error:
                answers[place] = _error(error)
        recommended = self.recommender.recommend(list(queries.values()))
        for place, answer in zip(queries, recommended, strict=True):
            answers[place] = answer.to_json()
        return answers

    def _other(self, question: Json) -> Json:
        try:
            answer = self._answers.get(question["ask"])
            if answer is None:
                raise InvalidInput("not a question for a recommender")
            return {"found": _short(answer(question))}
        except InputError as error:
            return _error(error)
        except Exception as error:  # one question's own failure: its neighbours in the batch are answered
            log.exception("a question of kind %s failed", question["ask"])
            return {"error": f"{type(error).__name__}", "error_kind": "failed", "location": []}

    def _similar_users(self, asked: Json) -> Json:
        algorithm, users = self.people.similar(asked["user_id"], asked["n"], asked.get("model"))
        return {"algorithm": algorithm, "users": [dataclasses.asdict(each) for each in users]}

    def _user_groups(self, asked: Json) -> Json:
        return {"groups": [dataclasses.asdict(each) for each in self.people.groups(asked["user_id"], asked["n"])]}

    def _user(self, asked: Json) -> Json:
        return dataclasses.asdict(self.people.overview(asked["user_id"], asked["n"]))

    def _item(self, asked: Json) -> Json:
        found = dataclasses.asdict(self.catalogue.details(asked["item_id"]))
        return {**found.pop("item"), **found}

    def _similar_items(self, asked: Json) -> Json:
        algorithm, items = self.catalogue.similar(asked["item_id"], asked["n"], asked.get("model"))
        return {
            "algorithm": algorithm,
            "items": [{**dataclasses.asdict(each.item), "score": each.score} for each in items],
        }

    def _items(self, asked: Json) -> Json:
        page = self.catalogue.list(**{key: value for key, value in asked.items() if key != "ask"})
        return dataclasses.asdict(page)

    def _top_items(self, asked: Json) -> Json:
        items = self.catalogue.top(asked["n"], window_days=asked.get("window_days"), category=asked.get("category"))
        return {"items": [dataclasses.asdict(each) for each in items]}


def _error(error: InputError) -> Json:
    kind = "unknown" if isinstance(error, NotKnown) else "invalid"
    return {"error": str(error), "error_kind": kind, "location": list(error.location)}


def _short(value: Any) -> Any:  # Any: JSON
    """float32 as float64 shows digits that are not there."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_short(each) for each in value]
    return value
