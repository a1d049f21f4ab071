"""The handler of a tabular model: rows of a table in, one answer for each out."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import ValidationError

from models.card import Card
from models.errors import InvalidInput, PredictionFailed
from serving.http.operation import Operation
from serving.http.requests.json_bounds import DEFAULT_BOUNDS, JsonBounds
from serving.jobs.kind import JobKind
from serving.kinds.interface import Handler, Json
from serving.kinds.served_model import Result, ServedModel
from serving.kinds.tabular import jobs, open_inference
from serving.kinds.tabular.routes import PREDICT, predict_operation
from serving.kinds.tabular.schemas import ExtraColumns, Row
from serving.kinds.tabular.version import Instances, Predictions, TabularVersion, located
from serving.open_inference.codec import DecodedRequest
from serving.open_inference.outputs import Inferred
from serving.open_inference.schemas import TensorMetadata
from serving.runners.interface import Payload
from serving.versions.shadow_comparison import Comparison


class TabularHandler(Handler[TabularVersion]):
    """`predict_tabular`. Its types follow the card of the version that answers."""

    tags: ClassVar[tuple[tuple[str, str], ...]] = (
        ("tabular", "Predictions for rows of the training table's columns."),
    )
    has_fast_path: ClassVar[bool] = True

    def __init__(self, model: ServedModel[TabularVersion], *, max_rows: int, is_cached: bool = False) -> None:
        super().__init__(model, is_cached=is_cached)
        self.max_rows = max_rows

    def operations(self) -> list[Operation]:
        return [predict_operation(self)]

    def job_kind(self) -> JobKind:
        return jobs.job_kind(self)

    @property
    def native_methods(self) -> Mapping[str, Callable[..., Awaitable[Any]]]:
        async def predict_tabular(instances: list[dict[str, Any]]) -> dict[str, Any]:
            return (await self.predict(instances)).to_response().model_dump()

        return {PREDICT: predict_tabular}

    @property
    def json_bounds(self) -> JsonBounds:
        # `TabularVersion.read` counts the fields of an object, because it parses large bodies anyway.
        return DEFAULT_BOUNDS.allowing(fields=self.max_rows * (len(self.model.card.inputs) + 1), names=sys.maxsize)

    async def answer_json(self, bodies: Sequence[bytes | bytearray]) -> list[bytes | Exception]:
        outcomes = await self.predict_each(bodies)
        return [outcome if isinstance(outcome, Exception) else outcome.to_json() for outcome in outcomes]

    async def predict(self, instances: Instances) -> Predictions:
        """Predict rows.

        Raises pydantic's ValidationError and InvalidInput for rows that do not fit the card, and what
        `ServedModel.call` raises.
        """
        (outcome,) = await self.predict_each([instances])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def predict_each(
        self, requests: Sequence[bytes | bytearray | Instances], *, extra: ExtraColumns = "refuse"
    ) -> list[Predictions | Exception]:
        """Predict the rows of each request with one call to the runner. A request with a fault fails alone.

        Columns that the model does not have are a fault, or with `extra` `ignore` left out.
        Raises what `ServedModel.call` raises.
        """
        batch = _Batch(requests, extra)
        result = await self.model.call(batch.encode, requests=len(requests), compare=_compare)
        return batch.outcomes(result)

    def tensors(self, card: Card) -> tuple[list[TensorMetadata], list[TensorMetadata]]:
        return open_inference.tensors(card)

    @property
    def inference_description(self) -> str:
        return open_inference.DESCRIPTION

    def inference_example(self) -> tuple[Json, Json]:
        return open_inference.example(self.model.current.schema)

    async def infer(self, request: DecodedRequest) -> Inferred:
        return await open_inference.infer(self, request)


class _Batch:
    """Requests that share one call: their rows, and which rows belong to which request."""

    def __init__(self, requests: Sequence[bytes | bytearray | Instances], extra: ExtraColumns) -> None:
        self._requests = requests
        self._extra = extra
        self._faults: dict[int, Exception] = {}
        self._spans: dict[int, slice] = {}

    async def encode(self, version: TabularVersion) -> Payload | None:
        """Return the rows of all requests that fit `version`, as one array."""
        self._faults = {}
        rows = self._read(version)
        while rows:
            try:
                return version.encode(rows)
            except InvalidInput as error:
                self._reject(error, rows)
                rows = [row for span in self._spans.values() for row in rows[span]]
                self._renumber()
        return None

    def outcomes(self, result: Result[TabularVersion] | None) -> list[Predictions | Exception]:
        """Return the predictions or the fault of each request."""
        if result is None:
            return [self._faults[index] for index in range(len(self._requests))]
        version, total = result.version, sum(span.stop - span.start for span in self._spans.values())
        predictions = version.predictions(result.values, total)
        return [
            self._faults[index]
            if index in self._faults
            else Predictions(version.schema, result.model, predictions[self._spans[index]], result.elapsed_ms)
            for index in range(len(self._requests))
        ]

    def _read(self, version: TabularVersion) -> list[Row]:
        rows: list[Row] = []
        self._spans = {}
        for index, request in enumerate(self._requests):
            try:
                read = version.read(request, self._extra)
            except (ValidationError, InvalidInput) as error:
                self._faults[index] = error
                continue
            self._spans[index] = slice(len(rows), len(rows) + len(read))
            rows += read
        return rows

    def _reject(self, error: InvalidInput, rows: list[Row]) -> None:
        """Take the request with the faulty row out of the batch; all of them where the row is not named."""
        place = error.location[0] if error.location else None
        for index, span in list(self._spans.items()):
            if not isinstance(place, int) or span.start <= place < span.stop:
                own = error
                if isinstance(place, int):
                    own = InvalidInput(str(error), location=(place - span.start, *error.location[1:]))
                self._faults[index] = located(own, rows[span])
                self._spans.pop(index)

    def _renumber(self) -> None:
        start = 0
        for index, span in self._spans.items():
            length = span.stop - span.start
            self._spans[index] = slice(start, start + length)
            start += length


def _compare(first: Result[TabularVersion], second: Result[TabularVersion]) -> Comparison:
    """Compare the predictions of two versions for the same rows."""
    rows, others = (each.version.predictions(each.values, len(each.values)) for each in (first, second))
    if len(rows) != len(others):
        raise PredictionFailed("the versions do not accept the same rows")
    form = first.version.schema.form
    if type(form) is not type(second.version.schema.form):
        raise PredictionFailed("the versions do not answer in the same form")
    return form.compare(rows, others)
