"""The topology: three runners, each with one model, and the gateway that composes them.

bentoml serve service:Gateway
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any, cast

import bentoml
import numpy as np
from numpy.typing import NDArray

from models.cores import usable_cores
from models.errors import ArtifactError, SettingsInvalid
from models.image.classifier import ImageClassifier
from models.image.preprocessing import ImageDecoder, read_preprocessing
from models.recommender.feedback_log import FeedbackLog, default_url
from models.recommender.online.dispatcher import Dispatcher
from models.recommender.online.feedback_listener import FeedbackListener
from models.recommender.online.predictor import Answer, Query
from models.recommender.online.recent_events import RecentEvents
from models.store.artifact_cache import ArtifactCache
from models.tabular.model import TabularModel
from models.tabular.row_encoder import RowEncoder
from serving.access.guard import build_guard
from serving.app import build_app
from serving.bento.config import service_config
from serving.bento.gateway import GatewayService
from serving.bento.runner import RunnerService
from serving.http.middleware.stack import middleware_stack
from serving.kinds.build import build_handlers
from serving.kinds.image.schemas import BatchClassification, Classification, ClassifyOptions
from serving.kinds.recommender.schemas import (
    BulkRecommendations,
    BulkRecommendRequest,
    Recommendations,
    RecommendRequest,
)
from serving.kinds.served_models import ImageModelVersion, Served, ServedImages, ServedRecommender, ServedTable
from serving.observability.metrics import metrics_content, metrics_folder_fault
from serving.routes.health import Metrics
from serving.runners.batching import BatchLimits
from serving.runners.host.loaded_versions import LoadedVersions
from serving.runners.placement import Placed, connect_queries, connect_rows, place
from serving.server.fast_path.operations import fast_operations
from serving.settings.loading import load_settings
from serving.version import VERSION
from serving.versions.catalog import StoreCatalog, build_reloads, build_traffic, served_model
from serving.versions.state import DeploymentState

SOURCE = Path(__file__).resolve().parent

try:
    settings = load_settings()
except SettingsInvalid as error:
    sys.exit(f"error: {error}")

image_shelf = ArtifactCache(settings.image_model, source=SOURCE)
table_shelf = ArtifactCache(settings.tabular_model, source=SOURCE)
recommender_shelf = ArtifactCache(settings.recommender_model, source=SOURCE)

feedback = FeedbackLog(settings.feedback_url or default_url())

kept = DeploymentState(settings.state_folder)
runner = RunnerService.using(settings)


@bentoml.service(service_class=runner, **service_config(settings, threads=settings.image_calls_in_flight))
class ImageRunner:
    """Classifies images, as uint8 (N, H, W, 3), into probabilities (N, classes); `embed` adds their features."""

    def __init__(self) -> None:
        self.model = LoadedVersions(
            lambda version: ImageClassifier.load(image_shelf.find_verified(version), threads=usable_cores()),
            warm_up=lambda model: model.predict(model.example()),
            start=kept.start(settings.image_model, image_shelf.find),
        )

    @bentoml.api(batchable=True, max_batch_size=settings.max_batch_rows, max_latency_ms=60_000)
    def predict(self, rows: NDArray[np.uint8]) -> NDArray[np.float32]:
        with self.model.lease() as model:
            return model.predict(rows)

    @bentoml.api(batchable=True, max_batch_size=settings.max_batch_rows, max_latency_ms=60_000)
    def embed(self, rows: NDArray[np.uint8]) -> NDArray[np.float32]:
        with self.model.lease() as model:
            return model.embed(rows)


@bentoml.service(service_class=runner, **service_config(settings))
class TabularRunner:
    """Predicts encoded table rows, as float32 (N, columns): probabilities (N, classes), or estimates (N, 1)."""

    def __init__(self) -> None:
        self.model = LoadedVersions(
            lambda version: TabularModel.load(table_shelf.find_verified(version)),
            warm_up=lambda model: model.predict(model.example()),
            start=kept.start(settings.tabular_model, table_shelf.find),
        )

    @bentoml.api(batchable=True, max_batch_size=settings.max_batch_rows, max_latency_ms=60_000)
    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        with self.model.lease() as model:
            return model.predict(rows)


@bentoml.service(service_class=runner, **service_config(settings))
class RecommenderRunner:
    """Answers recommendation queries and questions about users and items, each a JSON object."""

    def __init__(self) -> None:
        listener = FeedbackListener(feedback, RecentEvents(), window_days=settings.feedback_window_days).start()
        self.model = LoadedVersions(
            lambda version: Dispatcher.load(
                recommender_shelf.find_verified(version),
                features=settings.features,
                features_ttl_s=settings.features_ttl_s,
                recent=listener.recent,
            ),
            warm_up=lambda desk: desk.warm_up(),
            start=kept.start(settings.recommender_model, recommender_shelf.find),
        )

    @bentoml.api(batchable=True, max_batch_size=settings.max_batch_rows, max_latency_ms=60_000)
    def ask(self, queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        with self.model.lease() as desk:
            return desk.answer(queries)


def limits(*, calls_in_flight: int = 1) -> BatchLimits:
    """Bounds of the queue in front of one runner."""
    return BatchLimits(
        max_batch_rows=settings.max_batch_rows,
        max_batch_bytes=settings.max_batch_bytes,
        max_queue_rows=settings.max_queue_rows,
        calls_in_flight=calls_in_flight,
    )


image: Placed[Any] = place(ImageRunner, settings.image_placement)
table: Placed[Any] = place(TabularRunner, settings.tabular_placement)
recommender: Placed[Any] = place(RecommenderRunner, settings.recommender_placement)

image_rows = connect_rows(image, limits(calls_in_flight=settings.image_calls_in_flight), name="image")
table_rows = connect_rows(table, limits(), name="tabular")
recommender_queries = connect_queries(recommender, limits(), name="recommender")


images = served_model(image_shelf, image_rows, settings.image_model, kept)
tables = served_model(table_shelf, table_rows, settings.tabular_model, kept)
recommenders = served_model(recommender_shelf, recommender_queries, settings.recommender_model, kept)
models = (images, tables, recommenders)


def edition(version: str | None) -> ImageModelVersion:
    """What goes with a version of the image classifier; without one, with that which answers now."""
    artifact = image_shelf.read(version) if version else images.answering
    made = decoder(artifact.folder)
    return ImageModelVersion(artifact.card, made.decode, made.fit, takes=made.preprocessing)


@functools.cache
def decoder(folder: Path) -> ImageDecoder:
    """The decoder of one artifact. Artifacts never change, so it is made once."""
    return ImageDecoder(read_preprocessing(folder), max_pixels=settings.max_image_pixels)


def query(*, user_id: str, n: int, filter_seen: bool, **more: Any) -> dict[str, Any]:
    """A recommendation query as the runner takes it."""
    return Query(user_id=user_id, n=n, filter_seen=filter_seen).to_json() | more


guard = build_guard(settings)
calls = build_handlers(
    Served(
        images=ServedImages(
            image_rows,
            lambda: images.card,
            lambda file: edition(None).decode(file),
            lambda pixels: edition(None).fit(pixels),
            edition,
            images.traffic,
        ),
        table=ServedTable(table_rows, lambda: tables.card, RowEncoder, tables.card_of, tables.traffic),
        recommender=ServedRecommender(
            recommender_queries,
            lambda: recommenders.card,
            query,
            Answer.from_json,
            recommenders.traffic,
        ),
        feedback=feedback.append,
    ),
    settings,
)
app = build_app(
    calls,
    StoreCatalog(*models),
    Metrics(lambda: metrics_content()[0]),
    version=VERSION,
    guard=guard,
    reloads=build_reloads(models, kept, watch_s=settings.watch_store_s),
    traffic=build_traffic(models, kept, max_versions=settings.max_traffic_versions),
    is_stopping=lambda: bool(gateway.draining.is_begun),
)


# What `bentoml containerize` builds on; with "none" it adds no compiler. `make image` puts its own in its place.
base = bentoml.images.Image(base_image="python:3.11-slim-bookworm", distro="none", python_version="3.11")


@bentoml.service(service_class=GatewayService.using(settings), image=base, **service_config(settings))
@bentoml.asgi_app(app, path="/")
class Gateway:
    """Answers clients, and asks the runners. Its methods are for BentoML's own clients; `app` has the whole API."""

    image = image
    table = table
    recommender = recommender

    @bentoml.api
    async def classify_image(self, image: Path, top_k: int = 5, threshold: float = 0.0) -> Classification:
        return await calls.images.classify(image.read_bytes(), ClassifyOptions(top_k=top_k, threshold=threshold))

    @bentoml.api
    async def classify_images(self, images: list[Path], top_k: int = 5, threshold: float = 0.0) -> BatchClassification:
        files = [file.read_bytes() for file in images]
        return await calls.images.classify_many(files, ClassifyOptions(top_k=top_k, threshold=threshold))

    @bentoml.api
    async def predict_tabular(self, instances: list[dict[str, Any]]) -> dict[str, Any]:
        return (await calls.tabular.predict(instances)).model_dump()

    @bentoml.api
    async def recommend(self, user_id: str, n: int = 10, filter_seen: bool = True) -> Recommendations:
        return await calls.recommendations.recommend(RecommendRequest(user_id=user_id, n=n, filter_seen=filter_seen))

    @bentoml.api
    async def recommend_bulk(self, user_ids: list[str], n: int = 10, filter_seen: bool = True) -> BulkRecommendations:
        return await calls.recommendations.recommend_bulk(
            BulkRecommendRequest(user_ids=user_ids, n=n, filter_seen=filter_seen)
        )

    @bentoml.on_deployment
    @staticmethod
    def check_models() -> None:
        """Before anything is started: end with the name of the model that is missing or unusable, and what mends it."""
        try:
            image_shelf.check("image-classification")
            table_shelf.check("tabular-classification", "tabular-regression")
            recommender_shelf.check("recommendation")
        except ArtifactError as error:
            sys.exit(f"error: {error}")
        if settings.features and recommender.url is None and not Path(settings.features).is_dir():
            sys.exit(f"error: setting MAKUNOUCHI_FEATURES: there is no folder '{settings.features}'")
        if fault := metrics_folder_fault():
            sys.exit(f"error: {fault}")


gateway: GatewayService[Any] = cast("GatewayService[Any]", Gateway)
gateway.add_asgi_middleware(middleware_stack, settings=settings, guard=guard)
gateway.hot_calls = fast_operations(calls, guard)
