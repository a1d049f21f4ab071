"""The JSON requests of the recommender's runner: {"ask": OPERATION, ...}, or a recommendation query without "ask".

    similar_users  user_id n model        user_groups  user_id n         user      user_id n
    similar_items  item_id n model        item         item_id           top_items n window_days category
    items          query category year_from year_to after offset limit

The response is {"found": ...} or {"error", "error_kind", "location"}. A recommendation has the format of `Answer`.
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
    """A dispatcher of JSON requests to one recommender."""

    def __init__(self, recommender: Recommender) -> None:
        self.recommender = recommender
        self.artifact = recommender.artifact
        self.users = Users(recommender.state)
        self.catalog = ItemCatalog(recommender.state)
        self._operations: Mapping[str, Callable[[Json], object]] = {
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
        """Open an artifact. `features` is the folder of the feature tables, "" for the one in the artifact.

        Limit BLAS to one thread in this process. Raise ArtifactInvalid.
        """
        folder = Path(features) if features else None
        recommender = Recommender.load(artifact, features=folder, features_ttl_s=features_ttl_s, recent=recent)
        use_threads(1)
        return cls(recommender)

    def example(self) -> list[Json]:
        """Return one valid request, for warm-up and probes."""
        return [self.recommender.example().to_json()]

    def warm_up(self) -> None:
        """Answer example requests and build the lazy indexes. Raise the errors of the recommender."""
        example = self.recommender.example()
        # A history needs a Gram matrix of all items, which is cached and takes seconds for a million items.
        history = (self.recommender.contents.items[0],)
        self.recommender.recommend([example, dataclasses.replace(example, history=history)])
        self.recommender.state.item_metadata()
        self.catalog.warm_up()

    def answer(self, requests: Sequence[Json]) -> list[Json]:
        """Answer each request, in order. An invalid request does not affect the others."""
        responses: list[Json] = [{}] * len(requests)
        queries: dict[int, Query] = {}
        for position, request in enumerate(requests):
            if "ask" in request:
                responses[position] = self._run_operation(request)
                continue
            try:
                queries[position] = Query.from_json(request)
            except InputError as error:
                responses[position] = _error(error)
        answers = self.recommender.recommend(list(queries.values()))
        for position, answer in zip(queries, answers, strict=True):
            responses[position] = answer.to_json()
        return responses

    def _run_operation(self, request: Json) -> Json:
        try:
            operation = self._operations.get(request["ask"])
            if operation is None:
                raise InvalidInput(f"unknown operation {request['ask']!r}; known: {', '.join(self._operations)}")
            return {"found": _rounded(operation(request))}
        except InputError as error:
            return _error(error)
        except Exception as error:  # a failed request must not fail the batch
            log.exception("operation %s failed", request["ask"])
            return {"error": f"{type(error).__name__}", "error_kind": "failed", "location": []}

    def _similar_users(self, request: Json) -> Json:
        algorithm, users = self.users.similar(request["user_id"], request["n"], request.get("model"))
        return {"algorithm": algorithm, "users": [dataclasses.asdict(each) for each in users]}

    def _user_groups(self, request: Json) -> Json:
        return {"groups": [dataclasses.asdict(each) for each in self.users.groups(request["user_id"], request["n"])]}

    def _user(self, request: Json) -> Json:
        return dataclasses.asdict(self.users.profile(request["user_id"], request["n"]))

    def _item(self, request: Json) -> Json:
        details = dataclasses.asdict(self.catalog.details(request["item_id"]))
        return {**details.pop("item"), **details}

    def _similar_items(self, request: Json) -> Json:
        algorithm, items = self.catalog.similar(request["item_id"], request["n"], request.get("model"))
        return {
            "algorithm": algorithm,
            "items": [{**dataclasses.asdict(each.item), "score": each.score} for each in items],
        }

    def _items(self, request: Json) -> Json:
        page = self.catalog.list(**{key: value for key, value in request.items() if key != "ask"})
        return dataclasses.asdict(page)

    def _top_items(self, request: Json) -> Json:
        items = self.catalog.top(request["n"], window_days=request.get("window_days"), category=request.get("category"))
        return {"items": [dataclasses.asdict(each) for each in items]}


def _error(error: InputError) -> Json:
    kind = "unknown" if isinstance(error, NotKnown) else "invalid"
    return {"error": str(error), "error_kind": kind, "location": list(error.location)}


def _rounded(value: Any) -> Any:  # Any: JSON
    """Round floats to the precision of float32, because float64 shows more digits."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(each) for each in value]
    return value
