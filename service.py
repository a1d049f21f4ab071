"""The topology: the runners that hold the served models, and the gateway that composes them.

    client -- HTTP --> Gateway --+-- batches --> ImageRunner
                                 +-- batches --> TabularRunner
                                 +-- batches --> RecommenderRunner

Which models are served, and where their runners are placed, follows from the model list, or without one from the
settings of the kinds in `serving.kinds.registry`. Start with: bentoml serve service:Gateway
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import bentoml

from models.errors import SettingsInvalid
from serving.access.guard import build_guard
from serving.access.production_checks import setting_faults
from serving.app import build_app
from serving.bento.config import service_config
from serving.bento.gateway import GatewayService, gateway_class
from serving.bento.model_directory import ModelDirectory
from serving.bento.models import BentoModels
from serving.bento.pinned_model import pinned_model
from serving.bento.tracing import tracing_fault
from serving.http.middleware.stack import middleware_stack
from serving.http.response_cache import build_cache
from serving.kinds.registry import KINDS, ServiceSettings
from serving.observability.metrics import metrics_content
from serving.routes.health import Metrics
from serving.server.fast_path.operations import fast_operations
from serving.settings.loading import load_settings
from serving.settings.settings import state_folder
from serving.version import VERSION
from serving.versions.catalog import StoreCatalog
from serving.versions.reconciler import Reconciler
from serving.versions.state import DeploymentState

try:
    settings = load_settings(ServiceSettings, setting_faults)
except SettingsInvalid as error:
    sys.exit("\n".join(f"error: {fault}" for fault in str(error).splitlines()))

try:
    state = DeploymentState(state_folder(settings.state_folder))
    models = BentoModels(KINDS, settings, state, source=Path(__file__).resolve().parent, module=__name__)
except SettingsInvalid as error:
    sys.exit("\n".join(f"error: {fault}" for fault in str(error).splitlines()))

guard = build_guard(settings)
cache = build_cache(settings)
reconciler = Reconciler(
    models.deployed, state, max_versions=settings.max_traffic_versions, watch_s=settings.watch_store_s
)
app = build_app(
    models.handlers,
    StoreCatalog(lambda: models.deployed),
    Metrics(lambda: metrics_content()[0]),
    settings,
    version=VERSION,
    cache=cache,
    guard=guard,
    reconciler=reconciler,
    changes=ModelDirectory(models, state, reconciler),
    is_stopping=lambda: bool(gateway.draining.is_begun),
)


def check() -> None:
    """End the start with one line that names what is missing or unusable, and the remedy."""
    if fault := models.fault() or tracing_fault():
        sys.exit(f"error: {fault}")


# What `bentoml containerize` builds on; with "none" it adds no compiler. `make image` puts its own in its place.
base = bentoml.images.Image(base_image="python:3.13-slim-trixie", distro="none", python_version="3.13")

# Each runner can be served alone, on another host: bentoml serve service:ImageRunner
globals().update(
    {placed.on.name: placed.on for runner in models.runners for placed in runner.dependencies if placed.on}
)
Gateway: Any = bentoml.service(
    service_class=GatewayService.using(settings), image=base, **service_config(settings, workers=settings.gateways)
)(bentoml.asgi_app(app, path="/")(gateway_class(models, module=__name__, check=check)))

gateway: GatewayService[Any] = cast("GatewayService[Any]", Gateway)
# `bentoml build` pins them.
gateway.models.extend(pinned_model(tag, alias) for tag, alias in models.pins())
gateway.add_asgi_middleware(middleware_stack, settings=settings, guard=guard)
gateway.fast_operations = lambda: fast_operations(models.handlers, settings, guard, cache)
gateway.handlers = models.handlers
