"""The handler of a text classifier: texts in, classes with probabilities out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, ClassVar

from pydantic import ValidationError

from models.card import Card
from models.errors import InvalidInput, PredictionFailed
from serving.http.operation import Operation
from serving.jobs.kind import JobKind
from serving.kinds.interface import Handler, Json, Stream
from serving.kinds.served_model import Result, ServedModel
from serving.kinds.text import jobs, open_inference, streams
from serving.kinds.text.routes import CLASSIFY, TAG, classify_operation
from serving.kinds.text.schemas import ClassifyText, TextPredictions, request_type
from serving.kinds.text.version import Predictions, TextVersion
from serving.open_inference.codec import DecodedRequest
from serving.open_inference.outputs import Inferred
from serving.open_inference.schemas import TensorMetadata
from serving.runners.interface import Payload
from serving.versions.shadow_comparison import Comparison, compare_classes


class TextHandler(Handler[TextVersion]):
    """`classify_text`."""

    tags: ClassVar[tuple[tuple[str, str], ...]] = ((TAG, "Classification of texts."),)
    has_fast_path: ClassVar[bool] = True

    def __init__(self, model: ServedModel[TextVersion], *, max_texts: int) -> None:
        super().__init__(model, is_cached=True)
        self.max_texts = max_texts
        self.request_type = request_type(max_texts)

    def operations(self) -> list[Operation]:
        return [classify_operation(self)]

    def streams(self) -> list[Stream]:
        return [streams.classify_stream(self)]

    def job_kind(self) -> JobKind:
        return jobs.job_kind(self)

    @property
    def native_methods(self) -> Mapping[str, Callable[..., Awaitable[Any]]]:
        async def classify_text(texts: list[str]) -> TextPredictions:
            return (await self.classify(texts)).to_response()

        return {CLASSIFY: classify_text}

    async def answer_json(self, bodies: Sequence[bytes | bytearray]) -> list[bytes | Exception]:
        read = [self._read(body) for body in bodies]
        valid = [texts for texts in read if not isinstance(texts, Exception)]
        each = iter(await self._classify_each(valid) if valid else [])
        return [texts if isinstance(texts, Exception) else next(each).to_json() for texts in read]

    async def classify(self, texts: Sequence[str]) -> Predictions:
        """Classify texts. Raises InvalidInput for no texts or too many, and as `ServedModel.call`."""
        if not 1 <= len(texts) <= self.max_texts:
            message = f"1 to {self.max_texts} texts may be sent at a time, not {len(texts)}"
            raise InvalidInput(message, location=("body", "texts"))
        (predictions,) = await self._classify_each([texts])
        return predictions

    def tensors(self, card: Card) -> tuple[list[TensorMetadata], list[TensorMetadata]]:
        return open_inference.tensors(card)

    @property
    def inference_description(self) -> str:
        return open_inference.DESCRIPTION

    def inference_example(self) -> tuple[Json, Json]:
        return open_inference.example()

    async def infer(self, request: DecodedRequest) -> Inferred:
        return await open_inference.infer(self, request)

    def _read(self, body: bytes | bytearray) -> list[str] | Exception:
        try:
            request = self.request_type.validate_json(body)
        except ValidationError as error:
            return error
        return [request.text] if isinstance(request, ClassifyText) else list(request.texts)

    async def _classify_each(self, requests: Sequence[Sequence[str]]) -> list[Predictions]:
        """Classify the texts of several requests with one call to the runner."""
        payload = [{"text": text} for texts in requests for text in texts]

        async def encode(version: TextVersion) -> Payload:
            return payload

        result = await self.model.call(encode, requests=len(requests), compare=_agreement)
        if result is None:
            raise PredictionFailed("no answer")
        predictions = result.version.predictions(result.values, len(payload))
        ends = list(accumulate(len(texts) for texts in requests))
        return [
            Predictions(result.version, result.model, predictions[end - len(texts) : end], result.elapsed_ms)
            for texts, end in zip(requests, ends, strict=True)
        ]


def _agreement(first: Result[TextVersion], second: Result[TextVersion]) -> Comparison:
    """Compare the predictions of two versions for the same texts."""
    labels, others = (
        [each["prediction"] for each in result.version.predictions(result.values, len(result.values))]
        for result in (first, second)
    )
    return compare_classes(labels, others)
