"""Predicts rows of the table that the served model was trained on. Knows cards and arrays, no HTTP."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.card import Card
from models.errors import InvalidInput, PredictionFailed
from serving.calls.deadline import deadline, elapsed_ms
from serving.calls.images import model_used
from serving.errors import FieldFault
from serving.runners import RowsAnswer
from serving.schemas.problems import json_type
from serving.schemas.tabular import (
    ClassifiedRow,
    ClassifiedRows,
    EstimatedRow,
    EstimatedRows,
    Row,
    TabularAnswer,
    TabularSchema,
    tabular_schema,
)
from serving.served import RowEncoder, ServedTable
from serving.settings import Settings


@dataclass(frozen=True, slots=True)
class _Typed:
    """What is made once for each card."""

    schema: TabularSchema
    encoder: RowEncoder


class TabularCalls:
    """`predict_tabular`. Its types follow the card of the model that is served."""

    def __init__(self, served: ServedTable, settings: Settings) -> None:
        self.served = served
        self._max_rows = settings.max_rows
        self._timeout_s = settings.request_timeout_s
        self._typed: _Typed | None = None

    @property
    def schema(self) -> TabularSchema:
        """The types of the call now."""
        return self._for(self.served.card()).schema

    async def predict_json(self, body: bytes) -> TabularAnswer:
        """Predict the rows of `{"instances": [...]}`. Raises pydantic's ValidationError, and as `predict` does."""
        typed = self._for(self.served.card())
        return await self._predict(typed, typed.schema.request.validate_json(body)["instances"])

    async def predict(self, instances: Sequence[Mapping[str, object]]) -> TabularAnswer:
        """One prediction per row, in order.

        Raises pydantic's ValidationError for rows that do not fit the card, and what `RowsRunner.predict` raises.
        """
        typed = self._for(self.served.card())
        rows = typed.schema.request.validate_python({"instances": list(instances)})
        return await self._predict(typed, rows["instances"])

    def _for(self, card: Card) -> _Typed:
        # One swap of one reference: the schema and the encoder of a request are always of the same card.
        typed = self._typed
        if typed is None or typed.schema.card is not card:
            typed = _Typed(tabular_schema(card, max_rows=self._max_rows), self.served.encoder(card))
            self._typed = typed
        return typed

    async def _predict(self, typed: _Typed, rows: list[Row]) -> TabularAnswer:
        try:
            encoded = typed.encoder.encode(rows)
        except InvalidInput as error:
            raise _located(error, rows) from error
        started = time.perf_counter()
        answer = await self.served.runner.predict(encoded, deadline=deadline(self._timeout_s))
        inference_time_ms = elapsed_ms(started)
        if len(answer.values) != len(rows) or not np.isfinite(answer.values).all():
            raise PredictionFailed(f"{answer.values.shape} values for {len(rows)} rows, or some are not finite")
        if typed.schema.answer is EstimatedRows:
            return _estimated(answer, inference_time_ms)
        return _classified(answer, typed.schema.card.classes, inference_time_ms)


def _located(error: InvalidInput, rows: list[Row]) -> InvalidInput:
    match error.location:
        case (int(index), str(name)):
            value_type = json_type(rows[index].get(name))
            return FieldFault(str(error), location=("body", "instances", index, name), value_type=value_type)
    return InvalidInput(str(error), location=("body", "instances"))


def _estimated(answer: RowsAnswer, inference_time_ms: float) -> EstimatedRows:
    values = answer.values.astype(np.float64)[:, 0].tolist()
    return EstimatedRows(
        model=model_used(answer.model),
        predictions=[EstimatedRow(prediction=float(f"{value:.7g}")) for value in values],
        inference_time_ms=inference_time_ms,
    )


def _classified(answer: RowsAnswer, classes: Sequence[str], inference_time_ms: float) -> ClassifiedRows:
    if answer.values.shape[1] != len(classes):
        raise PredictionFailed(f"{answer.values.shape[1]} probabilities for {len(classes)} classes")
    best = answer.values.argmax(axis=1).tolist()
    # float32 as float64 would show digits that are not there.
    shares = np.clip(answer.values.astype(np.float64), 0.0, 1.0).round(6).tolist()
    return ClassifiedRows(
        model=model_used(answer.model),
        predictions=[
            ClassifiedRow(prediction=classes[place], probabilities=dict(zip(classes, row, strict=True)))
            for place, row in zip(best, shares, strict=True)
        ],
        inference_time_ms=inference_time_ms,
    )
