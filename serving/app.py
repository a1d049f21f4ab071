"""The HTTP application that the gateway mounts: every route, and problem documents for errors."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from serving.access.guard import Guard
from serving.http import problem_details
from serving.http.model_routes import Missing, routes_of
from serving.http.openapi.document import OpenApiDocument
from serving.http.operation import Operation
from serving.http.response_cache import ResponseCache
from serving.jobs.build import build_jobs
from serving.kinds.handlers import Handlers
from serving.kinds.interface import Handler
from serving.open_inference.handler import OpenInferenceHandler
from serving.open_inference.model import InferenceModel
from serving.routes import aliases as alias_routes
from serving.routes import (
    health,
    job_submissions,
    model_changes,
    model_details,
    models,
    open_inference,
    pages,
    repository,
    streams,
    websocket,
)
from serving.routes import jobs as job_routes
from serving.routes import problem_types as problem_routes
from serving.routes import reload as reload_routes
from serving.routes import traffic as traffic_routes
from serving.routes.health import Metrics
from serving.settings.settings import Settings
from serving.versions.catalog import ModelCatalog
from serving.versions.model_changes import ModelChanges
from serving.versions.reconciler import Reconciler


class GatewayApp:
    """The application of a gateway. Its routes and its document follow the models, which may change while it runs."""

    def __init__(
        self,
        handlers: Handlers,
        catalog: ModelCatalog,
        metrics: Metrics,
        settings: Settings,
        *,
        version: str,
        cache: ResponseCache | None,
        guard: Guard,
        reconciler: Reconciler | None,
        changes: ModelChanges | None,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._handlers = handlers
        self._catalog = catalog
        self._metrics = metrics
        self._settings = settings
        self._version = version
        self._cache = cache
        self._guard = guard
        self._reconciler = reconciler
        self._changes = changes
        self._is_stopping = is_stopping
        self._jobs = build_jobs(handlers.job_kinds(), settings, is_stopping=is_stopping)
        self._inference_models = self._new_inference_models()
        self._inference = OpenInferenceHandler(lambda: self._inference_models, catalog)
        self._open_streams = streams.new_limit()
        operations = self._operations()
        self._document = OpenApiDocument(
            operations,
            version=version,
            depends_on=handlers.cards,
            versions=handlers.versions,
            tags=handlers.tags,
            guard=guard,
        )
        self._socket = websocket.route(
            websocket.MessageHandler(lambda: handlers.by_alias),
            guard,
            websocket.Bounds.of(settings),
            origins=settings.cors_origins,
            is_stopping=is_stopping,
        )
        self.starlette = Starlette(routes=self._routes(operations), lifespan=self._lifespan)
        self.starlette.router.redirect_slashes = False
        problem_details.install(self.starlette)
        handlers.on_change(self._follow)

    def _follow(self) -> None:
        """Take over the models that are served now. Requests in flight have the endpoint that they began with."""
        self._jobs.replace(self._handlers.job_kinds())
        self._inference_models = self._new_inference_models()
        operations = self._operations()
        self._document.replace(operations, self._handlers.tags)
        self.starlette.router.routes = self._routes(operations)

    def _new_inference_models(self) -> dict[str, InferenceModel]:
        return {alias: _inference_model(alias, handler) for alias, handler in self._handlers.by_alias.items()}

    def _operations(self) -> list[Operation]:
        """Return every operation of the API, in the order of the document."""
        handlers, reconciler, changes = self._handlers, self._reconciler, self._changes
        checks = [self._guard.limits.check_store, *([self._cache.check] if self._cache is not None else [])]
        of_kinds = [operation for handler in handlers.firsts for operation in handler.operations()]
        of_models = [operation for handler in handlers for operation in handler.model_operations()]
        public = [
            *of_kinds,
            *of_models,
            *streams.operations(handlers, self._open_streams),
            *job_submissions.operations(self._jobs.service),
            *job_routes.operations(self._jobs.service),
            *models.operations(self._catalog, changes),
            *model_details.operations(self._catalog),
            *(model_changes.operations(changes) if changes is not None else ()),
            *(reload_routes.operations(reconciler) if reconciler is not None else ()),
            *(traffic_routes.operations(reconciler) if reconciler is not None else ()),
            *(alias_routes.operations(reconciler) if reconciler is not None else ()),
            *health.health_operations(
                lambda: handlers.runners,
                self._metrics,
                version=self._version,
                is_stopping=self._is_stopping,
                checks=checks,
                changes=changes,
            ),
            *problem_routes.operations(),
            *open_inference.operations(
                self._inference, version=self._version, is_stopping=self._is_stopping, changes=changes
            ),
            *(repository.operations(changes) if changes is not None else ()),
        ]
        public = _with_own_ids(public)
        methods = handlers.native_methods()
        native = [operation.native() for operation in public if operation.id in methods]
        return [*public, health.index_operation(public, version=self._version), *native]

    def _routes(self, operations: Sequence[Operation]) -> list[BaseRoute]:
        missing: Missing | None = self._changes.missing if self._changes is not None else None
        return [
            *routes_of(
                (*operations, *open_inference.unlisted(self._inference)), self._guard, self._cache, missing=missing
            ),
            self._socket,
            *pages.routes(self._document, is_private=self._guard.required_role("docs") is not None),
        ]

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        self._handlers.open()
        if self._reconciler is not None:
            self._reconciler.start()
        if self._changes is not None:
            self._changes.start()
        self._jobs.start()
        yield
        await self._jobs.stop()
        if self._changes is not None:
            await self._changes.stop()
        if self._reconciler is not None:
            await self._reconciler.stop()
        await self._guard.limits.close()
        if self._cache is not None:
            await self._cache.close()
        self._handlers.close()


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
    changes: ModelChanges | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Starlette:
    """Build the application. It opens and closes `handlers`.

    `version` is that of this service. Without a `guard` everything but administration is open. It is never ready once
    `is_stopping`. Without a `reconciler` no version can be changed, and without `changes` no model.
    """
    if cache is not None and reconciler is not None:
        reconciler.on_change(cache.clear)
    return GatewayApp(
        handlers,
        catalog,
        metrics,
        settings,
        version=version,
        cache=cache,
        guard=guard or Guard(),
        reconciler=reconciler,
        changes=changes,
        is_stopping=is_stopping,
    ).starlette


def _with_own_ids(operations: Sequence[Operation]) -> list[Operation]:
    """Return the operations; one of a model gets `_model_` into its id where an operation of none has the same id."""
    taken = {operation.id for operation in operations if not operation.is_at_model}
    return [
        replace(operation, id=operation.id.replace("_", "_model_", 1))
        if operation.is_at_model and operation.id in taken
        else operation
        for operation in operations
    ]


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
