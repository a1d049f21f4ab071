"""The interface of a kind of model: what a kind supplies, and what everything else in `serving` is written against.

A `Kind` is one object in `serving.kinds.registry`. It loads artifacts in the runner's process and makes a `Handler` for
each served model in the gateway. The handler takes lists: an ordinary request is a list of one, the fast path passes
all requests that it has collected.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import BaseModel
from starlette.requests import Request

from models.card import Card, Task
from models.store.artifacts import Artifact
from serving.http.operation import Content, JsonSchema, Operation
from serving.http.requests.json_bounds import DEFAULT_BOUNDS, JsonBounds
from serving.jobs.kind import JobKind
from serving.kinds.served_model import ServedModel, V
from serving.open_inference.codec import DecodedRequest
from serving.open_inference.outputs import Inferred
from serving.open_inference.schemas import TensorMetadata
from serving.runners.host.loaded_versions import Predictor
from serving.settings.model_list import identifier
from serving.settings.settings import Settings

S = TypeVar("S", bound=Settings)
Json = dict[str, Any]  # Any: JSON
# Asks a model, by its name, to predict rows: for calls between models.
Ask = Callable[[str, Sequence[Any]], list[Any]]  # Any: what the model takes and returns, as JSON
# What a batch method takes: an array of numbers, or one JSON object per row.
PayloadType = Literal["array", "objects"]


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """How the settings have a model served without a model list: its artifact, its placement, and what depends on both.

    `options` are options of its entry, as in the model list.
    """

    tag: str
    placement: str = "process"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the artifact."""
        return self.tag.partition(":")[0]


@dataclass(frozen=True, slots=True)
class BatchMethodSpec:
    """A batch method of a runner: its payload, and how the predictor answers it."""

    payload: PayloadType
    dtype: str
    call: Callable[[Any, Any], Any]  # Any: the kind's own predictor and payload


StreamCalls = Sequence[Callable[[], Awaitable[BaseModel]]]


@dataclass(frozen=True, slots=True)
class StreamQuery:
    """The GET form of a stream: the id of its operation, its parameters, and how a request is read."""

    id: str
    parameters: Callable[[], tuple[JsonSchema, ...]]
    read: Callable[[Request], StreamCalls]


@dataclass(frozen=True, slots=True)
class Stream:
    """A batch whose results are sent one by one, as Server-Sent Events, in the order in which they are finished.

    `read` validates a request and returns one call per item; each returns one result or one error. `query` is the same
    for a GET request, which is what the EventSource of browsers sends.
    """

    id: str
    path: str
    tag: str
    summary: str
    description: str
    body: Content
    read: Callable[[Request], Awaitable[StreamCalls]]
    example: Json
    answer_description: str
    query: StreamQuery | None = None
    # The model whose own path it has.
    model: str = ""


class Handler(ABC, Generic[V]):
    """One served model of a kind, in the gateway."""

    # The tags of its operations, with their descriptions.
    tags: ClassVar[tuple[tuple[str, str], ...]] = ()
    # Whether the fast path answers requests to the main operation, with `answer_json`.
    has_fast_path: ClassVar[bool] = False

    def __init__(self, model: ServedModel[V], *, is_cached: bool = False) -> None:
        """`is_cached`: the same request to the same version has the same response, which the cache may repeat."""
        self.model = model
        self.is_cached = is_cached
        # The models of this kind by alias, which a request to the kind may name.
        self.peers: Callable[[], Mapping[str, Handler[V]]] = lambda: {model.name: self}

    def alone(self) -> Self:
        """Return this handler for requests that have named the model already."""
        alone = copy.copy(self)
        alone.peers = lambda: {self.model.name: self}
        return alone

    @abstractmethod
    def operations(self) -> list[Operation]:
        """Return the operations of the kind, the main one first."""

    def model_operations(self) -> list[Operation]:
        """Return the operations of this model at its own path, `predict` first."""
        return [model_operation(self.alone().operations()[0], self.model.path_name, name="predict", path="predict")]

    @property
    @abstractmethod
    def native_methods(self) -> Mapping[str, Callable[..., Awaitable[Any]]]:
        """The methods that BentoML's own clients call, by name; each is also an operation of that id."""

    @abstractmethod
    async def answer_json(self, bodies: Sequence[bytes | bytearray]) -> list[bytes | Exception]:
        """Answer JSON requests to the main operation: the JSON of the response, or the error, for each in order.

        Raises what `ServedModel.call` raises, where no single request is at fault.
        """

    @abstractmethod
    def tensors(self, card: Card) -> tuple[list[TensorMetadata], list[TensorMetadata]]:
        """Return the inputs and the outputs of a model with `card`, for the Open Inference Protocol."""

    @property
    @abstractmethod
    def inference_description(self) -> str:
        """What the tensors of the Open Inference Protocol mean."""

    @abstractmethod
    def inference_example(self) -> tuple[Json, Json]:
        """Return examples of the body and of one output of an inference request."""

    @abstractmethod
    async def infer(self, request: DecodedRequest) -> Inferred:
        """Answer an inference request. Raises InvalidInput with the location of the fault, and as `answer_json`."""

    @property
    def json_bounds(self) -> JsonBounds:
        """The bounds of JSON bodies, which the largest valid request keeps."""
        return DEFAULT_BOUNDS

    def streams(self) -> list[Stream]:
        """Return the batch operations whose results are streamed."""
        return []

    def job_kind(self) -> JobKind | None:
        """Return how batches of this model are sent as jobs; None for no jobs."""
        return None

    def model_streams(self) -> list[Stream]:
        """Return the streams of this model at its own path."""
        path, name = f"/v1/models/{self.model.path_name}", identifier(self.model.path_name)
        return [
            replace(
                stream,
                id=f"stream_{name}" if number == 0 else f"{stream.id}_{name}",
                path=f"{path}/stream" if number == 0 else f"{path}/{stream.path.rpartition('/')[2]}",
                model=self.model.path_name,
                query=None if stream.query is None else replace(stream.query, id=f"{stream.query.id}_{name}"),
            )
            for number, stream in enumerate(self.alone().streams())
        ]

    def model_job_kind(self) -> JobKind | None:
        """Return how batches of this model are sent as jobs to its own path."""
        kind = self.alone().job_kind()
        if kind is None:
            return None
        name = self.model.path_name
        submission = replace(kind.submission, id=f"submit_{identifier(name)}_job")
        return replace(kind, name=f"models/{name}", submission=submission, model=name)

    def open(self) -> None:
        """Acquire what the handler needs. Called when the application starts, inside its event loop."""

    def close(self) -> None:
        """Release what `open` and the requests acquired."""


def model_operation(operation: Operation, model: str, *, name: str, path: str) -> Operation:
    """Return an operation of a kind for one model, at `path` below the path of that model."""
    return replace(
        operation,
        id=f"{name}_{identifier(model)}",
        path=f"/v1/models/{model}/{path}",
        summary=f"{operation.summary}, by {model}",
        model=model,
    )


class Kind(ABC, Generic[S]):
    """A kind of model. `S` is the type of the settings with those of the kind."""

    # The kind's name in `models.toml`, cards and logs.
    name: ClassVar[str]
    # The name of its model without a model list, in `/v2/models/{alias}` and in messages of the WebSocket. The names of
    # the kind's settings start with it.
    alias: ClassVar[str]
    # The BentoML service that runs its models.
    runner: ClassVar[str]
    runner_description: ClassVar[str]
    # The settings of the service with those of the kind.
    settings: ClassVar[type[Settings]]
    # The tasks of the artifacts that this kind serves.
    tasks: ClassVar[tuple[Task, ...]]
    # The batch methods of its runner, the default one first.
    methods: ClassVar[Mapping[str, BatchMethodSpec]]

    @abstractmethod
    def options(self, settings: S) -> ModelOptions | None:
        """Return how the settings have a model of this kind served; None for not at all."""

    @abstractmethod
    def load(self, settings: S) -> Callable[[Artifact], Predictor]:
        """Return what loads an artifact. Called once for each model in the runner's process; imports the runtime there.

        Where it has a method `close`, that is called when the model is unloaded.
        """

    def connect(self, ask: Ask) -> None:
        """Keep the function that asks other models of the service, for models that do. Called before all others."""

    def calls_in_flight(self, settings: S) -> int:
        """Return how many calls of a gateway to one model run at a time."""
        return 1

    @abstractmethod
    def version(self, artifact: Artifact, settings: S) -> Any:  # Any: the kind's own ModelVersion
        """Return what the gateway needs of one version: its card, and the codec made from it."""

    @abstractmethod
    def handler(self, model: ServedModel[Any], settings: S) -> Handler[Any]:
        """Return the handler of a served model."""

    def settings_of(self, name: str, settings: S) -> S:
        """Return the settings of the model `name`, where some depend on the name."""
        return settings

    def warm_up(self, predictor: Any) -> object:  # Any: the kind's own predictor
        """Answer the predictor's own example."""
        return predictor.predict(predictor.example())

    def check(self, settings: S, placement: str) -> None:
        """Raise SettingsInvalid for settings that cannot be served, before anything is started."""
