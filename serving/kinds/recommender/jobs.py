"""Jobs of users: recommend items to every user of a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import orjson
from pydantic import Field

from models.card import Card
from serving.http.operation import Content, JsonSchema
from serving.http.requests.json_body import JSON
from serving.http.requests.query import Flag, Query
from serving.jobs.decoding.task import CSV, NDJSON
from serving.jobs.kind import JobKind, JobSubmission
from serving.jobs.outcomes import Options, Outcome, process_each
from serving.jobs.storage.item_file import JobItem
from serving.kinds.recommender.examples import item, user
from serving.kinds.recommender.job_items import COLUMNS, USER_ID, RecommendJob
from serving.kinds.recommender.schemas import (
    MAX_ITEMS,
    BulkRecommendRequest,
    UnknownUser,
    UserFailure,
    name_models,
)
from serving.runners.interface import ModelRef

if TYPE_CHECKING:
    from serving.kinds.recommender.handler import RecommenderHandler

_BATCH_ITEMS = 16
_NAME = "recommendations"


def job_kind(handler: RecommenderHandler) -> JobKind:
    """Return the kind of job that recommends items to users."""
    return JobKind(
        name=_NAME,
        processor=UserProcessor(handler),
        decoder="serving.kinds.recommender.job_items:decode_users",
        submission=_submission(handler),
        columns=lambda: COLUMNS,
        line_bytes=lambda options: 512 + 256 * int(options.get("n", 10)),
        item_labels=(USER_ID,),
        export_columns="serving.kinds.recommender.job_items:export_columns",
    )


class UserProcessor:
    """Recommends items to the users of a job."""

    def __init__(self, handler: RecommenderHandler) -> None:
        self._handler = handler
        self.batch_items = min(_BATCH_ITEMS, handler.max_users)

    async def process(self, items: Sequence[JobItem], options: Options) -> list[Outcome]:
        """Return recommendations or an error for each user."""

        async def recommend(part: Sequence[JobItem]) -> list[Outcome]:
            user_ids = [str(item.head[USER_ID]) for item in part]
            details = {name: item.head for name, item in zip(user_ids, part, strict=True) if len(item.head) > 1}
            # A request has one history per user id, and two lines of one user may have different ones.
            if details and len(set(user_ids)) < len(user_ids) and len(part) > 1:
                return [outcome for item in part for outcome in await recommend([item])]
            per_user = {
                name: {key: value for key, value in head.items() if key != USER_ID} for name, head in details.items()
            }
            request = BulkRecommendRequest.model_validate({**options, "user_ids": user_ids, "per_user": per_user})
            response = await self._handler.recommend_bulk(request)
            model = None if response.model is None else ModelRef(response.model.name, response.model.version)
            return [
                Outcome(
                    result.model_dump(exclude={"index", USER_ID}), None if isinstance(result, UserFailure) else model
                )
                for result in response.results
            ]

        return await process_each(items, recommend)


class UsersQuery(Query):
    """The options of a job of users in a file. In a JSON body they are fields, which take precedence."""

    n: int | None = Field(None, ge=1, le=MAX_ITEMS, description="Maximum number of items to recommend.")
    filter_seen: Flag | None = Field(None, description="Leave out the items that the user has interacted with already.")
    unknown_user: UnknownUser | None = Field(None, description="The answer for a user who is not in the training data.")


def _submission(handler: RecommenderHandler) -> JobSubmission:
    def card() -> Card:
        return handler.model.card

    return JobSubmission(
        id="submit_recommendation_job",
        tag=_NAME,
        summary="Recommend items to a list of users",
        description=(
            "The body is JSON as in `recommend_bulk` with any number of users; CSV with the only column `user_id`; or "
            "NDJSON with an id, or an object with `user_id`, `history` and `user_features`, in each line. A user "
            "without an answer fails without the others."
        ),
        query=UsersQuery,
        body=Content(
            JSON,
            lambda: RecommendJob,
            lambda: {"users": {"user_ids": [user(card()), "nobody"], "n": 5}},
            refine=lambda schemas: name_models(schemas, card()),
        ),
        more_bodies=(
            Content(
                CSV,
                lambda: _text("The header `user_id`, then an id in each line."),
                lambda: {"users": "user_id\n196\n"},
            ),
            Content(
                NDJSON,
                lambda: _text("An id, or an object, in each line."),
                lambda: {"users": _lines(user(card()), {"user_id": "someone new", "history": [item(card())]})},
            ),
        ),
    )


def _lines(*values: object) -> str:
    return "".join(orjson.dumps(value).decode() + "\n" for value in values)


def _text(description: str) -> JsonSchema:
    return {"type": "string", "format": "binary", "description": description}
