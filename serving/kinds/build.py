"""Build the handlers of all kinds of models."""

from __future__ import annotations

from dataclasses import dataclass

from serving.http.response_cache import ResponseCache, build_cache
from serving.jobs.kind import JobKind
from serving.kinds.image import jobs as image_jobs
from serving.kinds.image.handler import ImageHandler
from serving.kinds.recommender import jobs as recommender_jobs
from serving.kinds.recommender.feedback import FeedbackHandler
from serving.kinds.recommender.handler import RecommenderHandler
from serving.kinds.recommender.items import ItemHandler
from serving.kinds.recommender.users import UserHandler
from serving.kinds.served_models import Served
from serving.kinds.tabular import jobs as tabular_jobs
from serving.kinds.tabular.handler import TabularHandler
from serving.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class Handlers:
    """What the API can do. The routes and BentoML's native methods are doors to these."""

    served: Served
    images: ImageHandler
    tabular: TabularHandler
    recommendations: RecommenderHandler
    users: UserHandler
    items: ItemHandler
    feedback: FeedbackHandler | None
    cache: ResponseCache | None
    settings: Settings

    def close(self) -> None:
        """End what the calls own: threads."""
        self.images.close()
        if self.feedback is not None:
            self.feedback.close()


def build_handlers(served: Served, settings: Settings) -> Handlers:
    """The calls to what is served."""
    return Handlers(
        served=served,
        images=ImageHandler(served.images, settings),
        tabular=TabularHandler(served.table, settings),
        recommendations=RecommenderHandler(served.recommender, settings),
        users=UserHandler(served.recommender, settings),
        items=ItemHandler(served.recommender, settings),
        feedback=FeedbackHandler(served.feedback, settings) if served.feedback is not None else None,
        cache=build_cache(settings),
        settings=settings,
    )


def job_kinds(handlers: Handlers) -> list[JobKind]:
    """Return the kinds of jobs that the handlers can process."""
    return [
        image_jobs.job_kind(handlers.images, handlers.settings),
        tabular_jobs.job_kind(handlers.tabular, handlers.settings),
        recommender_jobs.job_kind(handlers.recommendations, handlers.settings),
    ]
