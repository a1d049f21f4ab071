"""A small recommender and the feedback of its users, answered by two gateway processes over one SQLite log."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import bentoml
from starlette.applications import Starlette

from models.feedback_log import FeedbackLog
from models.recommender.listening import Listener
from models.recommender.predictor import Answer, Query
from models.recommender.recent import Recent
from serving.batching import BatchLimits
from serving.calls.feedback import FeedbackCalls
from serving.calls.items import ItemCalls
from serving.calls.people import UserCalls
from serving.calls.recommendations import RecommenderCalls
from serving.engine import EngineSettings, service_config
from serving.gateway_service import GatewayService
from serving.guard import Guard
from serving.placement import Placed, connect_queries, place
from serving.routes import feedback, items, recommendations, users
from serving.routes.service import Metrics, health_operations
from serving.runner_service import RunnerService
from serving.served import ServedRecommender
from serving.settings import Settings
from serving.slot import Slot
from serving.telemetry import metrics_content
from tests import library

ENGINE = EngineSettings(request_timeout_s=10, shutdown_grace_s=5, access_log=False)
LOG = FeedbackLog(os.environ["FEEDBACK_LOG"])


@bentoml.service(service_class=RunnerService.using(ENGINE), **service_config(ENGINE))
class LibraryRunner:
    def __init__(self) -> None:
        listener = Listener(LOG, Recent(), window_days=1).start()
        self.model = Slot(lambda version: library.desk(listener.recent), warm_up=lambda desk: desk.warm_up())

    @bentoml.api(batchable=True)
    def ask(self, queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        with self.model.lease() as desk:
            return desk.answer(queries)


runner: Placed[Any] = place(LibraryRunner, "process")
queries = connect_queries(
    runner, BatchLimits(max_batch_rows=64, max_batch_bytes=1 << 20, max_queue_rows=512), name="recommender"
)


def query(*, user_id: str, n: int, filter_seen: bool, **more: Any) -> dict[str, Any]:
    return Query(user_id, n, filter_seen).to_json() | more


served = ServedRecommender(queries, lambda: library.artifact().card, query, Answer.from_json)
settings = Settings()
recommending, kept = RecommenderCalls(served, settings), FeedbackCalls(LOG.append, settings)


def metrics_text() -> bytes:
    return metrics_content()[0]


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    kept.open()
    yield
    kept.close()


app = Starlette(
    routes=[
        operation.route(Guard())
        for operation in (
            *recommendations.operations(recommending),
            *users.operations(recommending, UserCalls(served, settings), max_age_s=0),
            *items.operations(ItemCalls(served, settings)),
            *feedback.operations(kept),
            *health_operations([queries], Metrics(metrics_text), version="0", is_stopping=lambda: False),
        )
    ],
    lifespan=lifespan,
)


@bentoml.service(service_class=GatewayService.using(ENGINE), **(service_config(ENGINE) | {"workers": 2}))
@bentoml.asgi_app(app, path="/")
class Feedback:
    runner = runner
