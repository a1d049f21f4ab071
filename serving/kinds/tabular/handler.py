"""Predicts rows of the table that the served model was trained on. Knows cards and arrays, no HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from models.card import Card
from models.errors import InvalidInput, PredictionFailed, RunnerUnavailable, VersionNotLoaded
from serving.context import deadline, elapsed_ms
from serving.errors.exceptions import FieldFault
from serving.errors.faults import json_type
from serving.kinds.responses import model_used
from serving.kinds.served_models import RowEncoder, ServedTable
from serving.kinds.tabular.schemas import (
    ClassifiedRow,
    ClassifiedRows,
    EstimatedRow,
    EstimatedRows,
    Row,
    TabularAnswer,
    TabularSchema,
    tabular_schema,
)
from serving.runners.interface import FailedBy, ModelRef, RowsAnswer
from serving.settings.settings import Settings
from serving.versions.shadow_comparison import Comparison, compare_classes, compare_numbers

# Swaps of the model that one request lives through.
MAX_SWAPS = 4
# Cards whose types are kept: while one version follows another, requests of both come.
MAX_CARDS = 4


@dataclass(frozen=True, slots=True)
class _Typed:
    """What is made once for each card."""

    schema: TabularSchema
    encoder: RowEncoder


class TabularHandler:
    """`predict_tabular`. Its types follow the card of the model that is served."""

    def __init__(self, served: ServedTable, settings: Settings) -> None:
        self.served = served
        self._max_rows = settings.max_rows
        self._timeout_s = settings.request_timeout_s
        # By the identity of the card, which each of them holds.
        self._typed: dict[int, _Typed] = {}

    @property
    def schema(self) -> TabularSchema:
        """The types of the call now."""
        return self._for(self.served.card()).schema

    async def predict_json(self, body: bytes) -> TabularAnswer:
        """Predict the rows of `{"instances": [...]}`. Raises pydantic's ValidationError, and as `predict` does."""
        return await self._answer(lambda typed: typed.schema.request.validate_json(body)["instances"])

    async def predict_each(self, bodies: Sequence[bytes | bytearray]) -> list[bytes | None]:
        """The answers to several requests as JSON, by one call to the runner.

        None for a request that `predict_json` has to answer: its body does not fit, or the model was changed meanwhile.
        Raises what `RowsRunner.predict` raises, and InvalidInput where one of the bodies cannot be encoded.
        """
        typed = self._for(self.served.card())
        rows, shares = _read_each(typed, bodies)
        if not rows:
            return [None] * len(bodies)
        started = time.perf_counter()
        answer = await self.served.runner.predict(typed.encoder.encode(rows), deadline=deadline(self._timeout_s))
        if self._of(answer.model, typed) is not typed:
            return [None] * len(bodies)
        told = _told(typed, answer, len(rows), elapsed_ms(started))
        fitting = sum(share is not None for share in shares)
        self.served.traffic.record(answer.model.version, time.perf_counter() - started, requests=fitting)
        return [None if share is None else _part(told, share) for share in shares]

    async def predict(self, instances: Sequence[Mapping[str, object]]) -> TabularAnswer:
        """One prediction per row, in order.

        Raises pydantic's ValidationError for rows that do not fit the card, and what `RowsRunner.predict` raises.
        """
        sent = {"instances": list(instances)}
        return await self._answer(lambda typed: typed.schema.request.validate_python(sent)["instances"])

    async def _answer(self, read: Callable[[_Typed], list[Row]]) -> TabularAnswer:
        """Answer by the card of the version that answered: while one is swapped in, which is known only afterwards."""
        traffic = self.served.traffic
        choice = traffic.choose()
        typed = self._version(choice.version)
        for _ in range(MAX_SWAPS):
            rows = read(typed)
            encoded = _encoded(typed, rows)
            started = time.perf_counter()
            asked = self.served.runner.predict(encoded, deadline=deadline(self._timeout_s), version=choice.version)
            try:
                answer = await traffic.measure(choice, asked)
            except VersionNotLoaded:
                choice = traffic.fall_back(choice)
                other = self._version("")
            except FailedBy as error:
                other = self._of(error.model, typed)
                if other is typed:
                    raise
            else:
                other = self._of(answer.model, typed)
                if other is typed:
                    told = _told(typed, answer, len(rows), elapsed_ms(started))
                    traffic.shadow(told.model.version, partial(self._agreement, read, told))
                    return told
            typed = other
        raise RunnerUnavailable("the model changes faster than it answers")

    async def _agreement(self, read: Callable[[_Typed], list[Row]], told: TabularAnswer, version: str) -> Comparison:
        """How far another version agrees with what was told of the same rows."""
        typed = self._version(version)
        rows = read(typed)
        answer = await self.served.runner.predict(
            _encoded(typed, rows), deadline=time.monotonic() + self._timeout_s, version=version, is_low_priority=True
        )
        other = _told(typed, answer, len(rows), 0.0)
        if isinstance(told, EstimatedRows) and isinstance(other, EstimatedRows):
            return compare_numbers(
                [row.prediction for row in told.predictions], [row.prediction for row in other.predictions]
            )
        return compare_classes(
            [str(row.prediction) for row in told.predictions], [str(row.prediction) for row in other.predictions]
        )

    def _version(self, version: str) -> _Typed:
        """What belongs to a version; without one, to that which answers by default."""
        if not version or self.served.card_of is None:
            return self._for(self.served.card())
        return self._for(self.served.card_of(version))

    def _of(self, model: ModelRef, typed: _Typed) -> _Typed:
        return typed if self.served.card_of is None else self._for(self.served.card_of(model.version))

    def _for(self, card: Card) -> _Typed:
        # The schema and the encoder of a request are always of the same card.
        typed = self._typed.get(id(card))
        if typed is None or typed.schema.card is not card:
            typed = _Typed(tabular_schema(card, max_rows=self._max_rows), self.served.encoder(card))
            while len(self._typed) >= MAX_CARDS:
                del self._typed[next(iter(self._typed))]
            self._typed[id(card)] = typed
        return typed


def _read_each(typed: _Typed, bodies: Sequence[bytes | bytearray]) -> tuple[list[Row], list[slice | None]]:
    """The rows of all bodies, and which of them are each body's; None for a body that does not fit."""
    rows: list[Row] = []
    shares: list[slice | None] = []
    for body in bodies:
        try:
            read = typed.schema.request.validate_json(body)["instances"]
        except ValidationError:
            shares.append(None)
            continue
        shares.append(slice(len(rows), len(rows) + len(read)))
        rows += read
    return rows, shares


def _part(told: TabularAnswer, share: slice) -> bytes:
    """The JSON of some rows' answer."""
    part = told.model_copy(update={"predictions": told.predictions[share]})
    return part.__pydantic_serializer__.to_json(part)


def _encoded(typed: _Typed, rows: list[Row]) -> NDArray[np.float32]:
    try:
        return typed.encoder.encode(rows)
    except InvalidInput as error:
        raise _located(error, rows) from error


def _told(typed: _Typed, answer: RowsAnswer, rows: int, inference_time_ms: float) -> TabularAnswer:
    if len(answer.values) != rows or not np.isfinite(answer.values).all():
        raise PredictionFailed(f"{answer.values.shape} values for {rows} rows, or some are not finite")
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
