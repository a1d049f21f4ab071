"""The HTTP application that the gateway mounts: every route, and problem documents for errors."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from serving.access.guard import Guard
from serving.http import problem_details
from serving.http.openapi.document import OpenApiDocument
from serving.http.operation import Operation
from serving.http.response_cache import ResponseCache
from serving.jobs.build import Jobs, build_jobs
from serving.kinds.handlers import Handlers
from serving.kinds.interface import Handler
from serving.open_inference.handler import OpenInferenceHandler
from serving.open_inference.model import InferenceModel
from serving.routes import aliases as alias_routes
from serving.routes import health, job_submissions, model_details, models, open_inference, pages, streams, websocket
from serving.routes import jobs as job_routes
from serving.routes import problem_types as problem_routes
from serving.routes import reload as reload_routes
from serving.routes import traffic as traffic_routes
from serving.routes.health import Metrics
from serving.settings.settings import Settings
from serving.versions.catalog import ModelCatalog
from serving.versions.reconciler import Reconciler


def build_app(
    handlers: Handlers,
    catalog: ModelCatalog,
    metrics: Metrics,
    settings: Settings,
    *,
    version: str,
    cache: ResponseCache | None = None,
    guard: Guard | None = None,
    reconciler: Reconciler | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Starlette:
    """Build the application. It opens and closes `handlers`.

    `version` is that of this service. Without a `guard` everything but administration is open. It is never ready once
    `is_stopping`. Without a `reconciler` no model can be changed.
    """
    guard = guard or Guard()
    if cache is not None and reconciler is not None:
        reconciler.on_change(cache.clear)
    jobs = build_jobs(handlers.job_kinds(), settings, is_stopping=is_stopping)
    inference = OpenInferenceHandler(
        {alias: _inference_model(alias, handler) for alias, handler in handlers.by_alias.items()}, catalog
    )
    checks = (guard.limits.check_store, *((cache.check,) if cache is not None else ()))
    operations = build_operations(
        handlers, catalog, inference, metrics, reconciler, jobs, version=version, is_stopping=is_stopping, checks=checks
    )
    document = OpenApiDocument(
        operations,
        version=version,
        depends_on=handlers.cards,
        versions=handlers.versions,
        tags=handlers.tags,
        guard=guard,
    )

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        handlers.open()
        if reconciler is not None:
            reconciler.start()
        jobs.start()
        yield
        await jobs.stop()
        if reconciler is not None:
            await reconciler.stop()
        await guard.limits.close()
        if cache is not None:
            await cache.close()
        handlers.close()

    routes: list[BaseRoute] = [
        operation.route(guard, cache) for operation in (*operations, *open_inference.unlisted(inference))
    ]
    routes.append(
        websocket.route(
            websocket.MessageHandler(handlers.by_alias),
            guard,
            websocket.Bounds.of(settings),
            origins=settings.cors_origins,
            is_stopping=is_stopping,
        )
    )
    routes += pages.routes(document, is_private=guard.required_role("docs") is not None)
    app = Starlette(routes=routes, lifespan=lifespan)
    app.router.redirect_slashes = False
    problem_details.install(app)
    return app


def build_operations(
    handlers: Handlers,
    catalog: ModelCatalog,
    inference: OpenInferenceHandler,
    metrics: Metrics,
    reconciler: Reconciler | None,
    jobs: Jobs,
    *,
    version: str,
    is_stopping: Callable[[], bool],
    checks: Sequence[health.Check] = (),
) -> list[Operation]:
    """Return every operation of the API, in the order of the document."""
    predicting = [operation for handler in handlers for operation in handler.operations()]
    public = [
        *predicting,
        *streams.operations(handlers),
        *job_submissions.operations(jobs.service),
        *job_routes.operations(jobs.service),
        *models.operations(catalog),
        *model_details.operations(catalog),
        *(reload_routes.operations(reconciler) if reconciler is not None else ()),
        *(traffic_routes.operations(reconciler) if reconciler is not None else ()),
        *(alias_routes.operations(reconciler) if reconciler is not None else ()),
        *health.health_operations(handlers.runners, metrics, version=version, is_stopping=is_stopping, checks=checks),
        *problem_routes.operations(),
        *open_inference.operations(inference, version=version, is_stopping=is_stopping),
    ]
    methods = {name for handler in handlers for name in handler.native_methods}
    native = [operation.native() for operation in predicting if operation.id in methods]
    return [*public, health.index_operation(public, version=version), *native]


def _inference_model(alias: str, handler: Handler[Any]) -> InferenceModel:
    model = handler.model

    def card(version: str = "") -> Any:
        return model.version(version).card

    return InferenceModel(
        alias,
        model.runner,
        card,
        lambda: model.router.available,
        handler.tensors,
        handler.infer,
        handler.inference_description,
        lambda: handler.json_bounds,
        handler.inference_example,
    )
