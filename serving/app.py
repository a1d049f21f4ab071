"""The HTTP application that the gateway mounts: every route, and problem documents for what goes wrong.

Knows calls and routes. What surrounds it (limits, compression, CORS) is in `edge`; models are behind the calls.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from starlette.applications import Starlette

from serving import problems
from serving.calls.images import ImageCalls
from serving.calls.recommendations import RecommenderCalls
from serving.calls.tabular import TabularCalls
from serving.catalog import ModelCatalog
from serving.openapi import OpenApiDocument
from serving.routes import images, models, pages, recommendations, service, tabular
from serving.routes import problems as problem_routes
from serving.routes.operation import Operation
from serving.routes.service import Metrics
from serving.served import Served
from serving.settings import Settings


@dataclass(frozen=True, slots=True)
class Calls:
    """What the API can do. The routes and BentoML's native methods are doors to these."""

    served: Served
    images: ImageCalls
    tabular: TabularCalls
    recommendations: RecommenderCalls

    def close(self) -> None:
        """End what the calls own: threads."""
        self.images.close()


def build_calls(served: Served, settings: Settings) -> Calls:
    """The calls to what is served."""
    return Calls(
        served=served,
        images=ImageCalls(served.images, settings),
        tabular=TabularCalls(served.table, settings),
        recommendations=RecommenderCalls(served.recommender, settings),
    )


def build_app(
    calls: Calls,
    catalog: ModelCatalog,
    metrics: Metrics,
    *,
    version: str,
    is_stopping: Callable[[], bool] = lambda: False,
) -> Starlette:
    """The application. It closes `calls` when it is shut down.

    `version` is that of this service. It is never ready once `is_stopping`.
    """
    operations = build_operations(calls, catalog, metrics, version=version, is_stopping=is_stopping)
    document = OpenApiDocument(operations, version=version, depends_on=calls.served.cards)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        calls.close()

    app = Starlette(
        routes=[*(operation.route() for operation in operations), *pages.routes(document)], lifespan=lifespan
    )
    app.router.redirect_slashes = False
    problems.install(app)
    return app


def build_operations(
    calls: Calls, catalog: ModelCatalog, metrics: Metrics, *, version: str, is_stopping: Callable[[], bool]
) -> list[Operation]:
    """Every operation of the API, in the order of the document."""
    predicting = [
        *images.operations(calls.images),
        *tabular.operations(calls.tabular),
        *recommendations.operations(calls.recommendations),
    ]
    describing = [
        *models.operations(catalog),
        *service.health_operations(calls.served.runners, metrics, version=version, is_stopping=is_stopping),
        *problem_routes.operations(),
    ]
    public = [*predicting, *describing]
    native = [operation.native() for operation in predicting]
    return [*public, service.index_operation(public, version=version), *native]
