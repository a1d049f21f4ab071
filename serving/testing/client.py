"""A synchronous client of one model of the model store, which is loaded into the process of the test."""

from __future__ import annotations

import contextlib
import tempfile
import typing
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from pydantic import BaseModel
from starlette.applications import Starlette

from models.errors import ArtifactInvalid
from models.store.artifacts import Artifact, find, verify
from serving.app import build_app
from serving.kinds.handlers import Handlers
from serving.kinds.interface import Handler, Kind
from serving.kinds.registry import KINDS, ServiceSettings
from serving.kinds.served_model import ServedModel
from serving.routes.health import Metrics
from serving.testing.local_runner import LocalRunner
from serving.testing.one_version import OneVersion
from serving.version import VERSION
from serving.versions.router import VersionRouter

if TYPE_CHECKING:
    import httpx


class ModelClient:
    """One model, as clients of the service see it. `artifact` is its version."""

    def __init__(self, artifact: Artifact, handler: Handler[Any], app: Starlette, portal: BlockingPortal) -> None:
        self.artifact = artifact
        self._method: Callable[..., Awaitable[Any]] = next(iter(handler.native_methods.values()))
        self._app = app
        self._portal = portal

    def predict(self, value: Any, **options: Any) -> Any:  # Any: what the model takes and returns, as JSON
        """Return the prediction for one value, or a list for a list: a row, a text, an instance of your class.

        An instance that is itself a list is sent in a list, as `[[0.5, 0.2]]`.
        Of a model without batches, such as an image classifier, `value` is what its method takes (a file as its path or
        its bytes), and the result is the whole response. `options` are those of the method.

        Raises InvalidInput or pydantic's ValidationError where the service answers 422, and PredictionFailed where it
        answers 500; the log has the reason.
        """
        with _as_file(value) as given:
            takes_list = self._takes_list()
            argument = [given] if takes_list and not isinstance(given, list) else given
            response = self._portal.call(partial(self._method, argument, **options))
        content = response.model_dump(mode="json") if isinstance(response, BaseModel) else response
        if not takes_list:
            return content
        return content["predictions"] if isinstance(value, list) else content["predictions"][0]

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:  # Any: options of httpx
        """Send an HTTP request to the application, with the options of httpx, and return the response."""
        import httpx

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, **options)

        return self._portal.call(send)

    def _takes_list(self) -> bool:
        """Whether the method takes a batch, as its first parameter."""
        hints = typing.get_type_hints(self._method)
        return typing.get_origin(next(iter(hints.values()))) is list


@contextlib.contextmanager
def model_client(tag: str, *, store: Path | None = None, **settings: Any) -> Iterator[ModelClient]:
    """Yield a client of the artifact `tag`: `name` or `name:version`, of `store` or of BentoML's model store.

    `settings` are those of the service, in place of the environment's: `max_instances=10`. The models that a class uses
    are the artifacts with these names.

    Raises ArtifactMissing and ArtifactInvalid.
    """
    with _client(tag, store, settings, above=()) as client:
        yield client


@contextlib.contextmanager
def _client(
    tag: str, store: Path | None, settings: Mapping[str, Any], *, above: tuple[str, ...]
) -> Iterator[ModelClient]:
    """Yield a client of an artifact. `above` are the models that use it."""
    artifact = find(tag, store=store)
    verify(artifact)
    kind = _kind_of(artifact)
    with (
        tempfile.TemporaryDirectory(prefix="makunouchi-test-") as state,
        start_blocking_portal() as portal,
        _used(artifact, store, settings, above=(*above, artifact.name)) as used,
    ):
        values = ServiceSettings(**{"state_folder": state, **settings})
        kind.connect(lambda name, rows: used[name].predict(list(rows)))
        predictor = kind.load(values)(artifact)
        kind.warm_up(predictor)
        runner = LocalRunner(kind, predictor)
        version = kind.version(artifact, values)
        router = VersionRouter(artifact.name, runner=runner)
        served: ServedModel[Any] = ServedModel(
            kind.alias, runner, lambda _: version, router, timeout_s=values.request_timeout_s
        )
        handlers = Handlers({kind.alias: kind.handler(served, values)})
        (handler,) = handlers
        app = build_app(handlers, OneVersion(artifact), Metrics(lambda: b""), values, version=VERSION)
        portal.call(_opened, handlers)
        try:
            yield ModelClient(artifact, handler, app, portal)
        finally:
            portal.call(_closed, handlers)
            runner.close()


@contextlib.contextmanager
def _used(
    artifact: Artifact, store: Path | None, settings: Mapping[str, Any], *, above: tuple[str, ...]
) -> Iterator[dict[str, ModelClient]]:
    """Yield clients of the models that a class uses, by name."""
    names = artifact.card.code.uses if artifact.card.code is not None else ()
    with contextlib.ExitStack() as stack:
        clients = {}
        for name in names:
            if name in above:
                raise ArtifactInvalid(f"models use each other in a cycle: {' -> '.join((*above, name))}")
            clients[name] = stack.enter_context(_client(name, store, settings, above=above))
        yield clients


def _kind_of(artifact: Artifact) -> Kind[Any]:
    task = artifact.card.task
    for kind in KINDS:
        if task in kind.tasks:
            return kind
    known = ", ".join(sorted(task for kind in KINDS for task in kind.tasks))
    raise ArtifactInvalid(f"artifact '{artifact.tag}' has the unknown task '{task}'; known: {known}")


async def _opened(handlers: Handlers) -> None:
    handlers.open()


async def _closed(handlers: Handlers) -> None:
    handlers.close()


@contextlib.contextmanager
def _as_file(value: Any) -> Iterator[Any]:  # Any: what a method takes
    """Yield the path of a file with bytes, and any other value as it is."""
    if not isinstance(value, bytes):
        yield value
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(value)
        file.flush()
        yield Path(file.name)
