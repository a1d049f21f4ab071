"""The HTTP application that the gateway mounts: every route, and problem documents for what goes wrong.

Knows calls and routes. What surrounds it (limits, compression) is in `edge`; models are behind the calls.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from serving.access.guard import Guard
from serving.http import problem_details
from serving.http.openapi.document import OpenApiDocument
from serving.http.operation import Operation
from serving.jobs.build import Jobs, build_jobs
from serving.kinds.build import Handlers, job_kinds
from serving.kinds.image import routes as image_routes
from serving.kinds.image import routes_v2 as image_routes_v2
from serving.kinds.recommender import feedback_routes, item_routes, user_routes
from serving.kinds.recommender import routes as recommendation_routes
from serving.kinds.tabular import routes as tabular_routes
from serving.open_inference.handler import OpenInferenceHandler
from serving.routes import health, job_submissions, model_details, models, open_inference, pages, streams, websocket
from serving.routes import jobs as job_routes
from serving.routes import problems as problem_routes
from serving.routes import reload as reload_routes
from serving.routes import traffic as traffic_routes
from serving.routes.health import Metrics
from serving.versions.catalog import ModelCatalog
from serving.versions.controller import TrafficController
from serving.versions.reloader import Reloader


def build_app(
    calls: Handlers,
    catalog: ModelCatalog,
    metrics: Metrics,
    *,
    version: str,
    guard: Guard | None = None,
    reloads: Reloader | None = None,
    traffic: TrafficController | None = None,
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
    jobs = build_jobs(job_kinds(calls), calls.settings, is_stopping=is_stopping)
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

    unlisted = open_inference.unlisted(
        OpenInferenceHandler(calls.images, calls.tabular, calls.recommendations, catalog)
    )
    keeps_tables = calls.settings.cache_tables
    answered: list[BaseRoute] = [
        operation.route(guard, cache if keeps_tables or operation.tag != tabular_routes.TAG else None)
        for operation in (*operations, *unlisted)
    ]
    answered.append(
        websocket.route(
            websocket.Predicting(calls.images, calls.tabular, calls.recommendations),
            guard,
            websocket.Bounds.of(calls.settings),
            origins=calls.settings.cors_origins,
            is_stopping=is_stopping,
        )
    )
    app = Starlette(routes=[*answered, *pages.routes(document)], lifespan=lifespan)
    app.router.redirect_slashes = False
    problem_details.install(app)
    return app


def build_operations(
    calls: Handlers,
    catalog: ModelCatalog,
    metrics: Metrics,
    reloads: Reloader | None,
    traffic: TrafficController | None,
    jobs: Jobs,
    *,
    version: str,
    is_stopping: Callable[[], bool],
) -> list[Operation]:
    """Every operation of the API, in the order of the document."""
    predicting = [
        *image_routes.operations(calls.images),
        *tabular_routes.operations(calls.tabular),
        *recommendation_routes.operations(calls.recommendations),
    ]
    second = image_routes_v2.operations(calls.images)
    streaming = streams.operations(calls.images, calls.recommendations)
    resources = [
        *user_routes.operations(calls.recommendations, calls.users, max_age_s=calls.settings.recommendations_max_age_s),
        *item_routes.operations(calls.items),
        *(feedback_routes.operations(calls.feedback) if calls.feedback is not None else ()),
    ]
    long = [
        *job_submissions.operations(jobs.service),
        *job_routes.operations(jobs.service),
    ]
    describing = [
        *models.operations(catalog),
        *model_details.operations(catalog),
        *(reload_routes.operations(reloads) if reloads is not None else ()),
        *(traffic_routes.operations(traffic) if traffic is not None else ()),
        *health.health_operations(calls.served.runners, metrics, version=version, is_stopping=is_stopping),
        *problem_routes.operations(),
    ]
    public = [*predicting, *second, *streaming, *resources, *long, *describing]
    infer = OpenInferenceHandler(calls.images, calls.tabular, calls.recommendations, catalog)
    public += open_inference.operations(infer, version=version, is_stopping=is_stopping)
    native = [operation.native() for operation in predicting]
    return [*public, health.index_operation(public, version=version), *native]
