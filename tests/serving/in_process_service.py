"""A complete service in this process, with small models that compute real results, without server and artifacts."""

from __future__ import annotations

import asyncio
import io
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from starlette.types import ASGIApp

from models.card import Card, Column, DataSource, Metrics, Task
from models.image.preprocessing import ImageDecoder, Preprocessing
from models.recommender.events import NewEvent
from models.store.alias_file import target_of
from models.store.aliases import Aliases
from models.store.artifacts import Artifact
from serving.access.guard import build_guard
from serving.app import build_app
from serving.http.middleware.cors import Cors
from serving.http.middleware.stack import middleware_stack
from serving.http.response_cache import build_cache
from serving.kinds.handlers import Handlers
from serving.kinds.image.handler import ImageHandler
from serving.kinds.image.version import ImageVersion
from serving.kinds.recommender.feedback import FeedbackHandler
from serving.kinds.recommender.handler import RecommenderHandler
from serving.kinds.recommender.version import RecommenderVersion
from serving.kinds.registry import ServiceSettings
from serving.kinds.served_model import ServedModel
from serving.kinds.tabular.handler import TabularHandler
from serving.kinds.tabular.version import TabularVersion
from serving.routes.health import Metrics as MetricsPage
from serving.versions.catalog import CatalogAlias, CatalogEntry
from serving.versions.deployed_model import DeployedModel
from serving.versions.reconciler import Reconciler
from serving.versions.router import VersionRouter
from serving.versions.state import DeploymentState
from tests.serving.runners.small_runners import Queries, Rows

SIDE = 8
MAX_PIXELS = 1_000_000
COLOURS = ("red", "green", "blue", "black", "white", "yellow")
_COLOUR_VALUES = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0], [1, 1, 1], [1, 1, 0]], dtype=np.float32)


def card(name: str, task: Task, inputs: tuple[Column, ...], *, classes: tuple[str, ...] = (), **more: Any) -> Card:
    """Return a card with the required fields."""
    metrics: Metrics = {"accuracy": 0.9, "log_loss": 0.31}
    return Card(
        name=name,
        task=task,
        algorithm="linear",
        created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        inputs=inputs,
        outputs=(Column("prediction", "category", categories=classes),),
        metrics=metrics,
        data=DataSource(name=f"{name}.csv", sha256="ab" * 32, rows=100),
        classes=classes,
        **more,
    )


IMAGE_CARD = card("image", "image-classification", (Column("image", "image"),), classes=COLOURS)
TABLE_CARD = card(
    "tabular",
    "tabular-classification",
    (
        Column("age", "integer", "Age in years", minimum=18, maximum=75, example=33),
        Column("credit amount", "number", minimum=250, maximum=18424, example=1169.0),
        Column("sex", "category", categories=("female", "male"), example="male"),
        Column("purpose", "category", categories=("car", "tv"), accepts_unknown=True, example="car"),
        Column("class", "boolean", example=True),
        Column("saving.accounts", "category", categories=("little", "rich"), nullable=True, required=False),
        Column("größe", "number", nullable=True, example=1.5),
    ),
    classes=("good", "bad"),
    slices={"sex=female": {"accuracy": 0.88}, "sex=male": {"accuracy": 0.91}, "class=good": {"recall": 0.7}},
    params={"seed": 7, "trees.depth": 4, "note": None},
)
RECOMMENDER_CARD = card(
    "recommender",
    "recommendation",
    (
        Column("user_id", "text", example="alice"),
        Column("model", "category", categories=("ease", "item-knn", "user-knn", "popular")),
    ),
)
DECODER = ImageDecoder(Preprocessing(resize=SIDE, crop=SIDE), max_pixels=MAX_PIXELS)


def png(colour: tuple[int, int, int] = (255, 0, 0), size: tuple[int, int] = (20, 10)) -> bytes:
    """Return a PNG file of one colour."""
    return encoded("PNG", colour, size)


def encoded(format_: str, colour: tuple[int, int, int], size: tuple[int, int] = (20, 10)) -> bytes:
    """Return an image file of one colour in one of Pillow's formats."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format_)
    return buffer.getvalue()


def _colour_weights() -> NDArray[np.float32]:
    # Scores that order colours by their distance from the pixels.
    return np.tile((_COLOUR_VALUES.T - 0.5) / 255 / SIDE, (SIDE * SIDE, 1)).astype(np.float32)


class Notebook:
    """A feedback log in memory, by key."""

    def __init__(self) -> None:
        self.events: dict[str, NewEvent] = {}
        self.error: Exception | None = None

    def append(self, requests: Sequence[Sequence[NewEvent]]) -> list[list[bool] | None]:
        if self.error:
            raise self.error
        return [self._append(events) for events in requests]

    def _append(self, events: Sequence[NewEvent]) -> list[bool] | None:
        known = dict(self.events)
        is_new = []
        for event in events:
            is_new.append(event.key not in known)
            if known.setdefault(event.key, event).content != event.content:
                return None
        self.events = known
        return is_new


class Catalog:
    """A catalog with two versions of the tabular model and one of each other model."""

    def __init__(self, local_service: LocalService) -> None:
        self._service = local_service

    def aliases(self) -> Sequence[CatalogAlias]:
        reports = self._service.artifacts.aliases.report()
        return [CatalogAlias("tabular", each.alias, each.version, each.fault) for each in reports]

    def entries(self) -> Sequence[CatalogEntry]:
        older = replace(self._service.table_card, created=datetime(2025, 1, 1, tzinfo=UTC))
        return [
            CatalogEntry(older, "v0", served=False),
            *(CatalogEntry(each, "v1", served=True) for each in self._service.handlers.cards()),
        ]


@dataclass(frozen=True)
class StoredTable:
    """One version of the tabular model in the store."""

    version: str
    card: Card


class TableArtifacts:
    """The store of the tabular model: any version that its runner can load; v1 is the configured one."""

    name = "tabular"

    def __init__(self, local_service: LocalService) -> None:
        self._local_service = local_service
        self._store = Path(local_service.settings.state_folder, "models")

    @property
    def aliases(self) -> Aliases:
        """Aliases in a store of their own, of versions that the runner can load."""
        return Aliases(self.name, store=self._store, find_version=self._artifact)

    def find(self, version: str | None = None) -> StoredTable:
        version = version and (target_of(self._store / self.name, version) or version)
        self._local_service.table._find(version)
        return self.read(version)

    def read(self, version: str | None = None) -> StoredTable:
        card = self._local_service.table_card
        if version == "v0":
            card = replace(card, metrics=dict(card.metrics) | {"accuracy": 0.8})
        return StoredTable(version or "v1", card)

    def _artifact(self, version: str) -> Artifact:
        stored = self.find(version)
        return Artifact(self.name, stored.version, self._store, stored.card)

    def versions(self) -> list[StoredTable]:
        return [self.read(version) for version in ("v1", "v0")]


class LocalService:
    """The application with its runners and cards, which tests may change."""

    def __init__(self, **settings: Any) -> None:
        state = Path(tempfile.gettempdir(), f"local_service-{secrets.token_hex(8)}")
        weakref.finalize(self, shutil.rmtree, state, ignore_errors=True)
        self.settings = ServiceSettings(**{"state_folder": str(state), **settings})
        self.image_card, self.table_card, self.recommender_card = IMAGE_CARD, TABLE_CARD, RECOMMENDER_CARD
        self.images = Rows("image", _colour_weights())
        self.table = Rows("tabular", np.eye(len(TABLE_CARD.inputs), 2, dtype=np.float32))
        self.recommender = Queries()
        self.feedback = Notebook()
        self.state = DeploymentState(state)
        self.traffic, self.image_traffic, self.recommender_traffic = (
            VersionRouter(runner.name, runner=runner, state=self.state)
            for runner in (self.table, self.images, self.recommender)
        )
        self._table: TabularVersion | None = None
        self.handlers = self._handlers()
        self.cache = build_cache(self.settings)
        self.guard = build_guard(self.settings)
        self.artifacts = TableArtifacts(self)
        self.reconciler = Reconciler(
            [DeployedModel("tabular", "tabular:latest", self.artifacts, self.table, self.traffic)],
            self.state,
            max_versions=self.settings.max_traffic_versions,
            watch_s=self.settings.watch_store_s,
        )
        self.app = build_app(
            self.handlers,
            Catalog(self),
            MetricsPage(lambda: b"up 1\n"),
            self.settings,
            version="0.1.0",
            cache=self.cache,
            guard=self.guard,
            reconciler=self.reconciler,
        )
        self.edged: ASGIApp = middleware_stack(self.app, self.settings, self.guard)
        if self.settings.cors_origins:
            self.edged = Cors(self.edged, origins=self.settings.cors_origins)

    def _handlers(self) -> Handlers:
        feedback = FeedbackHandler(self.feedback.append, self.settings)
        self.image_handler = ImageHandler(
            self._served(self.images, self._image_version, self.image_traffic), self.settings
        )
        self.table_handler = TabularHandler(
            self._served(self.table, self._table_version, self.traffic),
            max_rows=self.settings.max_rows,
            is_cached=self.settings.cache_tables,
        )
        self.recommender_handler = RecommenderHandler(
            self._served(
                self.recommender, lambda _: RecommenderVersion(self.recommender_card), self.recommender_traffic
            ),
            self.settings,
            feedback=feedback,
        )
        return Handlers(
            {"image": self.image_handler, "tabular": self.table_handler, "recommender": self.recommender_handler}
        )

    def _served(self, runner: Any, version: Any, router: VersionRouter) -> ServedModel[Any]:
        return ServedModel(runner.name, runner, version, router, timeout_s=self.settings.request_timeout_s)

    def _image_version(self, name: str) -> ImageVersion:
        return ImageVersion(self.image_card, DECODER.decode, DECODER.fit)

    def _table_version(self, name: str) -> TabularVersion:
        if self._table is None or self._table.card is not self.table_card:
            self._table = TabularVersion(self.table_card, max_rows=self.settings.max_rows)
        return self._table

    def serve_table(self, new: Card, outputs: int) -> None:
        """Replace the tabular model, as after training on another table."""
        self.table_card = new
        self.table.weights = np.eye(len(new.inputs), outputs, dtype=np.float32)
        self.table.is_classifier = new.task == "tabular-classification"

    def client(self) -> httpx.AsyncClient:
        """Return a client that calls the application in this process."""
        transport = httpx.ASGITransport(self.edged, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://test")

    def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request to the application, with the arguments of httpx's `request`."""

        async def send() -> httpx.Response:
            async with self.client() as client:
                return await client.request(method, path, **request)

        return asyncio.run(send())

    def get(self, path: str, **request: Any) -> httpx.Response:
        """Send a GET request."""
        return self.ask("GET", path, **request)

    def post(self, path: str, **request: Any) -> httpx.Response:
        """Send a POST request."""
        return self.ask("POST", path, **request)

    def post_json(self, path: str, text: str | bytes, **headers: str) -> httpx.Response:
        """Send `text` as a JSON body, valid or not."""
        return self.post(path, content=text, headers={"Content-Type": "application/json", **headers})

    def post_image(self, image: bytes, **fields: str) -> httpx.Response:
        """Send an image to be classified."""
        return self.post("/v1/images/classify", files={"image": ("image.png", image)}, data=fields)


ROW = {
    "age": 33,
    "credit amount": 1169.0,
    "sex": "male",
    "purpose": "car",
    "class": True,
    "saving.accounts": None,
    "größe": 1.5,
}
