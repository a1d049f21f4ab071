"""The interface of a kind of model: what a kind supplies, and what everything else in `serving` is written against.

A `Kind` is one object in `serving.kinds.registry`. It loads artifacts in the runner's process and makes a `Handler` for
each served model in the gateway. The handler takes lists: an ordinary request is a list of one, the fast path passes
all requests that it has collected.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel
from starlette.requests import Request

from models.card import Card, Task
from models.store.artifacts import Artifact
from serving.http.operation import Content, Operation
from serving.http.requests.json_bounds import DEFAULT_BOUNDS, JsonBounds
from serving.jobs.kind import JobKind
from serving.kinds.served_model import ServedModel, V
from serving.open_inference.codec import DecodedRequest
from serving.open_inference.outputs import Inferred
from serving.open_inference.schemas import TensorMetadata
from serving.runners.host.loaded_versions import Predictor
from serving.settings.settings import Settings

S = TypeVar("S", bound=Settings)
Json = dict[str, Any]  # Any: JSON
# What a batch method takes: an array of numbers, or one JSON object per row.
PayloadType = Literal["array", "objects"]


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """How one model is served: the artifact's tag, where its runner is placed, and how many calls run at a time."""

    tag: str
    placement: str = "process"
    calls_in_flight: int = 1

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


@dataclass(frozen=True, slots=True)
class Stream:
    """A batch whose results are sent one by one, as Server-Sent Events, in the order in which they are finished.

    `read` validates a request and returns one call per item; each returns one result or one error.
    """

    id: str
    path: str
    tag: str
    summary: str
    description: str
    body: Content
    read: Callable[[Request], Awaitable[Sequence[Callable[[], Awaitable[BaseModel]]]]]
    example: Json
    answer_description: str


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

    @abstractmethod
    def operations(self) -> list[Operation]:
        """Return the operations of the kind, the main one first."""

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

    def open(self) -> None:
        """Acquire what the handler needs. Called when the application starts, inside its event loop."""

    def close(self) -> None:
        """Release what `open` and the requests acquired."""


class Kind(ABC, Generic[S]):
    """A kind of model. `S` is the type of the settings with those of the kind."""

    # The kind's name in `models.toml`, cards and logs.
    name: ClassVar[str]
    # The name of the model in paths: `/v2/models/{alias}`, and in messages of the WebSocket.
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
        """Return what loads an artifact. Called once in the runner's process; imports the runtime there."""

    @abstractmethod
    def version(self, artifact: Artifact, settings: S) -> Any:  # Any: the kind's own ModelVersion
        """Return what the gateway needs of one version: its card, and the codec made from it."""

    @abstractmethod
    def handler(self, model: ServedModel[Any], settings: S) -> Handler[Any]:
        """Return the handler of a served model."""

    def warm_up(self, predictor: Any) -> object:  # Any: the kind's own predictor
        """Answer the predictor's own example."""
        return predictor.predict(predictor.example())

    def check(self, settings: S, options: ModelOptions) -> None:
        """Raise SettingsInvalid for settings that cannot be served, before anything is started."""
