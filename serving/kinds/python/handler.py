"""The handler of a user's own class: instances in, predictions out, both typed by its card."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, ClassVar

import orjson
from pydantic import ValidationError

from models.card import Card
from models.errors import InputError, InvalidInput, PredictionFailed
from models.python.model import INSTANCE
from serving.http.operation import Operation
from serving.http.requests.json_bounds import DEFAULT_BOUNDS, JsonBounds
from serving.jobs.kind import JobKind
from serving.kinds.interface import Handler, Json, Stream
from serving.kinds.python import jobs, open_inference, streams
from serving.kinds.python.routes import PREDICT, TAG, predict_operation
from serving.kinds.python.version import Predictions, PythonVersion, located
from serving.kinds.served_model import Result, ServedModel
from serving.open_inference.codec import DecodedRequest
from serving.open_inference.outputs import Inferred
from serving.open_inference.schemas import TensorMetadata
from serving.runners.interface import ModelRef, Payload
from serving.versions.shadow_comparison import Comparison, compare_classes, compare_numbers


class PythonHandler(Handler[PythonVersion]):
    """`predict_python`. Its types follow the card of the version that answers."""

    tags: ClassVar[tuple[tuple[str, str], ...]] = ((TAG, "A model that is a class of its user's."),)
    has_fast_path: ClassVar[bool] = True

    def __init__(self, model: ServedModel[PythonVersion], *, max_instances: int) -> None:
        super().__init__(model, is_cached=True)
        self.max_instances = max_instances

    def operations(self) -> list[Operation]:
        return [predict_operation(self)]

    def streams(self) -> list[Stream]:
        return [streams.predict_stream(self)]

    def job_kind(self) -> JobKind:
        return jobs.job_kind(self)

    @property
    def native_methods(self) -> Mapping[str, Callable[..., Awaitable[Any]]]:
        async def predict_python(instances: list[Any]) -> dict[str, Any]:
            return (await self.predict(instances)).to_response().model_dump()

        return {PREDICT: predict_python}

    @property
    def json_bounds(self) -> JsonBounds:
        return DEFAULT_BOUNDS.allowing(names=2 * len(self.model.card.inputs))

    def answering(self) -> ModelRef | None:
        """Return the model whose response to an equal request is the same, or None where it may differ."""
        model = self.model.answering()
        if model is None or not self.model.version(model.version).code.is_deterministic:
            return None
        return model

    async def answer_json(self, bodies: Sequence[bytes | bytearray]) -> list[bytes | Exception]:
        outcomes = await self._predict_each(bodies)
        return [outcome if isinstance(outcome, Exception) else outcome.to_json() for outcome in outcomes]

    async def predict(self, instances: Sequence[Any]) -> Predictions:
        """Predict instances. Raises InvalidInput for those that do not fit the card, and as `ServedModel.call`."""
        try:
            body = orjson.dumps({"instances": list(instances)})
        except TypeError as error:
            raise InvalidInput("an instance has a number of more than 64 bits", location=("body",)) from error
        (outcome,) = await self._predict_each([body])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def tensors(self, card: Card) -> tuple[list[TensorMetadata], list[TensorMetadata]]:
        return open_inference.tensors(card)

    @property
    def inference_description(self) -> str:
        return open_inference.DESCRIPTION

    def inference_example(self) -> tuple[Json, Json]:
        return open_inference.example(self.model.current.code)

    async def infer(self, request: DecodedRequest) -> Inferred:
        return await open_inference.infer(self, request)

    async def _predict_each(self, requests: Sequence[bytes | bytearray]) -> list[Predictions | Exception]:
        """Predict the instances of each request with one call to the runner. A request with a fault fails alone."""
        batch = _Batch(requests)
        try:
            result = await self.model.call(batch.encode, requests=len(requests), compare=_compare)
        except InvalidInput as error:
            # The user's type is stricter than its JSON schema, or the class refuses the instance.
            if len(requests) > 1:
                raise
            return [located(error, batch.instances)]
        return batch.outcomes(result)


class _Batch:
    """Requests that share one call: their instances, or what is wrong with them."""

    def __init__(self, requests: Sequence[bytes | bytearray]) -> None:
        self._requests = requests
        self._read: list[list[Any] | Exception] = []

    @property
    def instances(self) -> list[Any]:
        """The instances of all requests that have no fault."""
        return [instance for read in self._read if isinstance(read, list) for instance in read]

    async def encode(self, version: PythonVersion) -> Payload | None:
        self._read = [_read(version, request) for request in self._requests]
        return [{INSTANCE: instance} for instance in self.instances] or None

    def outcomes(self, result: Result[PythonVersion] | None) -> list[Predictions | Exception]:
        """Return the predictions or the fault of each request."""
        ends = list(accumulate(len(read) if isinstance(read, list) else 0 for read in self._read))
        predictions = result.version.predictions(result.values, ends[-1]) if result is not None else []
        outcomes: list[Predictions | Exception] = []
        for read, end in zip(self._read, ends, strict=True):
            if isinstance(read, Exception):
                outcomes.append(read)
            elif result is not None:
                own = predictions[end - len(read) : end]
                outcomes.append(Predictions(result.version, result.model, own, result.elapsed_ms))
        return outcomes


def _read(version: PythonVersion, request: bytes | bytearray) -> list[Any] | Exception:
    try:
        return version.read(request)
    except (ValidationError, InputError) as error:
        return error


def _compare(first: Result[PythonVersion], second: Result[PythonVersion]) -> Comparison:
    """Compare the predictions of two versions: the mean difference of numbers, or the share of equal ones."""
    one, other = (each.version.predictions(each.values, len(each.values)) for each in (first, second))
    if len(one) != len(other):
        raise PredictionFailed("the versions do not accept the same instances")
    if all(type(value) in (int, float) for value in (*one, *other)):
        return compare_numbers(one, other)
    texts = [[orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() for value in each] for each in (one, other)]
    return compare_classes(*texts)
