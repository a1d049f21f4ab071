"""The application with one real table in this process, which serves no other kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from models.store.artifacts import Artifact
from models.tabular.model import TabularModel
from serving.app import build_app
from serving.http.middleware.stack import middleware_stack
from serving.http.response_cache import build_cache
from serving.kinds.handlers import Handlers
from serving.kinds.registry import ServiceSettings
from serving.kinds.served_model import ServedModel
from serving.kinds.tabular.handler import TabularHandler
from serving.kinds.tabular.version import TabularVersion
from serving.routes.health import Metrics
from serving.runners.interface import ModelRef, RunnerResponse, RunnerStatus
from serving.testing.one_version import OneVersion
from serving.versions.router import VersionRouter


class TableRunner:
    """A runner of one table."""

    name = "tabular"

    def __init__(self, artifact: Artifact) -> None:
        self.predictor = TabularModel.load(artifact)
        self.model = ModelRef(artifact.name, artifact.version)

    @property
    def last_status(self) -> RunnerStatus:
        return RunnerStatus(ready=True, model=self.model)

    async def status(self, *, timeout_s: float) -> RunnerStatus:
        return self.last_status

    async def predict(
        self, payload: Any, *, deadline: float, version: str = "", method: str = "", is_low_priority: bool = False
    ) -> RunnerResponse:
        return RunnerResponse(self.predictor.predict(payload), self.model)


class TableService:
    """The application with the table of an artifact."""

    def __init__(self, artifact: Artifact, state: Path) -> None:
        self.settings = ServiceSettings(state_folder=str(state))
        runner = TableRunner(artifact)
        version = TabularVersion(artifact.card, max_rows=self.settings.max_rows)
        model: ServedModel[TabularVersion] = ServedModel(
            "tabular", runner, lambda _: version, VersionRouter(artifact.name, runner=runner), timeout_s=30.0
        )
        self.handler = TabularHandler(model, max_rows=self.settings.max_rows)
        self.handlers = Handlers({"tabular": self.handler})
        app = build_app(
            self.handlers,
            OneVersion(artifact),
            Metrics(lambda: b"up 1\n"),
            self.settings,
            version="0.1.0",
            cache=build_cache(self.settings),
        )
        self.app: ASGIApp = middleware_stack(app, self.settings)
