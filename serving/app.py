"""The HTTP application that the gateway mounts: every route, and problem documents for what goes wrong.

Knows calls and routes. What surrounds it (limits, compression) is in `edge`; models are behind the calls.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from serving import problems
from serving.cache import ResponseCache, build_cache
from serving.calls.feedback import FeedbackCalls
from serving.calls.images import ImageCalls
from serving.calls.inference import InferenceCalls
from serving.calls.items import ItemCalls
from serving.calls.people import UserCalls
from serving.calls.recommendations import RecommenderCalls
from serving.calls.tabular import TabularCalls
from serving.catalog import ModelCatalog
from serving.guard import Guard
from serving.jobs.building import Jobs, build_jobs
from serving.openapi import OpenApiDocument
from serving.reloads import Reloads
from serving.routes import (
    conversation,
    feedback,
    images,
    images_v2,
    inference,
    items,
    job_submissions,
    model_parts,
    models,
    pages,
    recommendations,
    service,
    streams,
    tabular,
    users,
)
from serving.routes import jobs as job_routes
from serving.routes import problems as problem_routes
from serving.routes import reload as reload_routes
from serving.routes import traffic as traffic_routes
from serving.routes.operation import Operation
from serving.routes.service import Metrics
from serving.served import Served
from serving.settings import Settings
from serving.traffic_control import TrafficControl


@dataclass(frozen=True, slots=True)
class Calls:
    """What the API can do. The routes and BentoML's native methods are doors to these."""

    served: Served
    images: ImageCalls
    tabular: TabularCalls
    recommendations: RecommenderCalls
    users: UserCalls
    items: ItemCalls
    feedback: FeedbackCalls | None
    cache: ResponseCache | None
    settings: Settings

    def close(self) -> None:
        """End what the calls own: threads."""
        self.images.close()
        if self.feedback is not None:
            self.feedback.close()


def build_calls(served: Served, settings: Settings) -> Calls:
    """The calls to what is served."""
    return Calls(
        served=served,
        images=ImageCalls(served.images, settings),
        tabular=TabularCalls(served.table, settings),
        recommendations=RecommenderCalls(served.recommender, settings),
        users=UserCalls(served.recommender, settings),
        items=ItemCalls(served.recommender, settings),
        feedback=FeedbackCalls(served.feedback, settings) if served.feedback is not None else None,
        cache=build_cache(settings),
        settings=settings,
    )


def build_app(
    calls: Calls,
    catalog: ModelCatalog,
    metrics: Metrics,
    *,
    version: str,
    guard: Guard | None = None,
    reloads: Reloads | None = None,
    traffic: TrafficControl | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Starlette:
    """The application. It closes `calls` when it is shut down.

    `version` is that of this service. Without a `guard` everything but administration is open. It is never ready once
    `is_stopping`. Without `reloads` no model can be changed, and without `traffic` none has more than one version.
    """
    guard = guard or Guard()
    cache = calls.cache
    if cache is not None and reloads is not None:
        reloads.on_reload(cache.clear)
    jobs = build_jobs(calls, calls.settings, is_stopping=is_stopping)
    operations = build_operations(
        calls, catalog, metrics, reloads, traffic, jobs, version=version, is_stopping=is_stopping
    )
    document = OpenApiDocument(operations, version=version, depends_on=calls.served.cards, guard=guard)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if calls.feedback is not None:
            calls.feedback.open()
        if reloads is not None:
            reloads.start()
        if traffic is not None:
            traffic.start()
        jobs.start()
        yield
        await jobs.stop()
        for follower in (reloads, traffic):
            if follower is not None:
                await follower.stop()
        await guard.limits.close()
        if cache is not None:
            await cache.close()
        calls.close()

    unlisted = inference.unlisted(InferenceCalls(calls.images, calls.tabular, calls.recommendations, catalog))
    keeps_tables = calls.settings.cache_tables
    answered: list[BaseRoute] = [
        operation.route(guard, cache if keeps_tables or operation.tag != tabular.TAG else None)
        for operation in (*operations, *unlisted)
    ]
    answered.append(
        conversation.route(
            conversation.Predicting(calls.images, calls.tabular, calls.recommendations),
            guard,
            conversation.Bounds.of(calls.settings),
            origins=calls.settings.cors_origins,
            is_stopping=is_stopping,
        )
    )
    app = Starlette(routes=[*answered, *pages.routes(document)], lifespan=lifespan)
    app.router.redirect_slashes = False
    problems.install(app)
    return app


def build_operations(
    calls: Calls,
    catalog: ModelCatalog,
    metrics: Metrics,
    reloads: Reloads | None,
    traffic: TrafficControl | None,
    jobs: Jobs,
    *,
    version: str,
    is_stopping: Callable[[], bool],
) -> list[Operation]:
    """Every operation of the API, in the order of the document."""
    predicting = [
        *images.operations(calls.images),
        *tabular.operations(calls.tabular),
        *recommendations.operations(calls.recommendations),
    ]
    second = images_v2.operations(calls.images)
    streaming = streams.operations(calls.images, calls.recommendations)
    resources = [
        *users.operations(calls.recommendations, calls.users, max_age_s=calls.settings.recommendations_max_age_s),
        *items.operations(calls.items),
        *(feedback.operations(calls.feedback) if calls.feedback is not None else ()),
    ]
    long = [
        *job_submissions.operations(jobs.calls, calls.tabular, calls.recommendations),
        *job_routes.operations(jobs.calls),
    ]
    describing = [
        *models.operations(catalog),
        *model_parts.operations(catalog),
        *(reload_routes.operations(reloads) if reloads is not None else ()),
        *(traffic_routes.operations(traffic) if traffic is not None else ()),
        *service.health_operations(calls.served.runners, metrics, version=version, is_stopping=is_stopping),
        *problem_routes.operations(),
    ]
    public = [*predicting, *second, *streaming, *resources, *long, *describing]
    infer = InferenceCalls(calls.images, calls.tabular, calls.recommendations, catalog)
    public += inference.operations(infer, version=version, is_stopping=is_stopping)
    native = [operation.native() for operation in predicting]
    return [*public, service.index_operation(public, version=version), *native]
