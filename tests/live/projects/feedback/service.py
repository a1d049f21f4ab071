"""A small recommender with feedback, served by two gateway processes with one SQLite log."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import bentoml
from starlette.applications import Starlette

from models.recommender.feedback_log import FeedbackLog
from models.recommender.online.feedback_listener import FeedbackListener
from models.recommender.online.recent_events import RecentEvents
from serving.access.guard import build_guard
from serving.bento.config import service_config
from serving.bento.gateway import GatewayService
from serving.bento.runner import RunnerService
from serving.kinds.recommender.feedback import FeedbackHandler
from serving.kinds.recommender.handler import RecommenderHandler
from serving.kinds.recommender.version import RecommenderVersion
from serving.kinds.registry import ServiceSettings
from serving.kinds.served_model import ServedModel
from serving.observability.metrics import metrics_content
from serving.routes.health import Metrics, health_operations
from serving.runners.batching import BatchLimits
from serving.runners.host.loaded_versions import LoadedVersions
from serving.runners.placement import Placed, connect, place
from serving.versions.router import VersionRouter
from tests.models.recommender import film_library

SETTINGS = ServiceSettings(request_timeout_s=10, shutdown_grace_s=5, access_log=False)
LOG = FeedbackLog(os.environ["FEEDBACK_LOG"])


@bentoml.service(service_class=RunnerService.using(SETTINGS), **service_config(SETTINGS))
class LibraryRunner:
    def __init__(self) -> None:
        listener = FeedbackListener(LOG, RecentEvents(), window_days=1).start()
        self.model = LoadedVersions(
            lambda version: film_library.dispatcher(listener.recent), warm_up=lambda dispatcher: dispatcher.warm_up()
        )

    @bentoml.api(batchable=True)
    def ask(self, queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        with self.model.lease() as dispatcher:
            return dispatcher.answer(queries)


runner: Placed[Any] = place(LibraryRunner, "process")
queries = connect(
    runner,
    BatchLimits(max_batch_rows=64, max_batch_bytes=1 << 20, max_queue_rows=512),
    name="recommender",
    method="ask",
)
version = RecommenderVersion(film_library.artifact().card)
served: ServedModel[RecommenderVersion] = ServedModel(
    "recommender", queries, lambda _: version, VersionRouter("recommender", runner=queries), timeout_s=10.0
)
feedback = FeedbackHandler(LOG.append, SETTINGS)
recommender = RecommenderHandler(served, SETTINGS, feedback=feedback)


def metrics_text() -> bytes:
    return metrics_content()[0]


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    recommender.open()
    yield
    recommender.close()


guard = build_guard(SETTINGS)
app = Starlette(
    routes=[
        operation.route(guard)
        for operation in (
            *recommender.operations(),
            *health_operations(lambda: [queries], Metrics(metrics_text), version="0", is_stopping=lambda: False),
        )
    ],
    lifespan=lifespan,
)


@bentoml.service(service_class=GatewayService.using(SETTINGS), **(service_config(SETTINGS) | {"workers": 2}))
@bentoml.asgi_app(app, path="/")
class Feedback:
    runner = runner
