"""Tests that a request is encoded and decoded with the card of the version that predicts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.card import Card
from models.errors import PredictionFailed, RunnerUnavailable, VersionNotLoaded
from models.image.preprocessing import ImageDecoder, Preprocessing
from models.tabular.row_encoder import RowEncoder
from serving.context import requesting_version
from serving.kinds.image.handler import ImageHandler
from serving.kinds.image.version import ImageVersion
from serving.kinds.registry import ServiceSettings
from serving.kinds.served_model import ServedModel
from serving.kinds.tabular.handler import TabularHandler
from serving.kinds.tabular.version import TabularVersion
from serving.runners.interface import ModelRef, RunnerResponse, RunnerStatus
from serving.versions.router import VersionRouter
from tests.serving.in_process_service import IMAGE_CARD, ROW, TABLE_CARD, png

CARDS: dict[str, Card] = {
    "a": TABLE_CARD,
    "wider": replace(TABLE_CARD, inputs=(*TABLE_CARD.inputs, replace(TABLE_CARD.inputs[0], name="more",
                                                                      required=False, nullable=True))),
    "reversed": replace(TABLE_CARD, classes=("bad", "good"), inputs=tuple(reversed(TABLE_CARD.inputs))),
}  # fmt: skip


@dataclass
class SwappingRunner:
    """A runner with one version. Its last status can be outdated until `status` is called."""

    loaded: str
    reported: str
    widths: dict[str, int]
    # Versions that replace the loaded one, one per call of `status`.
    next_versions: list[str] = field(default_factory=list)
    name: str = "m"
    payloads: list[NDArray[Any]] = field(default_factory=list)

    async def predict(
        self, payload: Any, *, deadline: float, version: str = "", method: str = "", is_low_priority: bool = False
    ) -> RunnerResponse:
        self.payloads.append(payload)
        if version != self.loaded:
            raise VersionNotLoaded("the version is not loaded at the moment")
        if payload.shape[1] != self.widths[version]:
            raise PredictionFailed("the model could not answer")
        values = np.tile(np.array([0.9, 0.1], np.float32), (len(payload), 1))
        return RunnerResponse(values, ModelRef(self.name, version))

    async def status(self, *, timeout_s: float) -> RunnerStatus:
        self.reported = self.loaded
        if self.next_versions:
            self.loaded = self.next_versions.pop(0)
        return self.last_status

    @property
    def last_status(self) -> RunnerStatus:
        return RunnerStatus(ready=True, model=ModelRef(self.name, self.reported))


def served(runner: SwappingRunner, version: Any) -> ServedModel[Any]:
    return ServedModel("m", runner, version, VersionRouter("m", runner=runner), timeout_s=30.0)


def table(loaded: str, *, reported: str = "a", then: Sequence[str] = ()) -> tuple[TabularHandler, SwappingRunner]:
    runner = SwappingRunner(loaded, reported, {name: len(card.inputs) for name, card in CARDS.items()}, list(then))
    versions = {name: TabularVersion(card, max_rows=1000) for name, card in CARDS.items()}
    return TabularHandler(served(runner, versions.__getitem__), max_rows=1000), runner


def test_rows_are_encoded_again_for_a_new_default_version() -> None:
    handler, runner = table("reversed")
    response = asyncio.run(handler.predict([ROW])).to_response().model_dump()

    assert response["model"]["version"] == "reversed"
    assert response["predictions"][0]["prediction"] == "bad"
    assert len(runner.payloads) == 2
    assert np.array_equal(runner.payloads[1], RowEncoder(CARDS["reversed"]).encode([ROW]), equal_nan=True)


def test_rows_are_encoded_again_for_another_number_of_columns() -> None:
    handler, runner = table("wider")
    prediction = asyncio.run(handler.predict([ROW]))

    assert prediction.model.version == "wider"
    assert [rows.shape[1] for rows in runner.payloads] == [len(CARDS["a"].inputs), len(CARDS["wider"].inputs)]


def test_prediction_failure_is_not_retried() -> None:
    handler, runner = table("a")
    runner.widths["a"] = 99
    with pytest.raises(PredictionFailed):
        asyncio.run(handler.predict([ROW]))
    assert len(runner.payloads) == 1


def test_model_reloaded_twice_during_a_request_is_unavailable() -> None:
    handler, runner = table("reversed", then=["wider"])
    with pytest.raises(RunnerUnavailable):
        asyncio.run(handler.predict([ROW]))
    assert len(runner.payloads) == 2


def test_requested_version_that_is_not_loaded_is_unavailable() -> None:
    handler, runner = table("reversed")

    async def predict_with_version() -> None:
        with requesting_version("a", location=("header", "X-Model-Version")):
            await handler.predict([ROW])

    with pytest.raises(RunnerUnavailable, match="version 'a' is not loaded at the moment"):
        asyncio.run(predict_with_version())
    assert len(runner.payloads) == 1


def test_images_use_preprocessing_and_classes_of_the_version() -> None:
    def version(name: str) -> ImageVersion:
        side = {"a": 8, "same_size": 8, "large": 16}[name]
        decoder = ImageDecoder(Preprocessing(resize=side, crop=side))
        classes = ("red", "green") if name == "a" else ("cat", "dog")
        card = replace(IMAGE_CARD, classes=classes)
        return ImageVersion(card, decoder.decode, decoder.fit, decoder.preprocessing)

    for loaded, label, calls in (("a", "red", 1), ("same_size", "cat", 2), ("large", "cat", 2)):
        runner = SwappingRunner(loaded, "a", {"a": 8, "same_size": 8, "large": 16})
        handler = ImageHandler(served(runner, version), ServiceSettings())
        try:
            one = asyncio.run(handler.classify(png()))
            assert len(runner.payloads) == calls
            several = asyncio.run(handler.classify_many([png(), b"none", png()]))
        finally:
            handler.close()
        assert (one.model.version, one.predictions[0].label) == (loaded, label)
        assert [result.status for result in several.results] == ["ok", "error", "ok"]
