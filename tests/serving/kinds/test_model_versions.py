"""A request is encoded for the version that it is sent to, and decoded by the card of that version."""

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
from serving.kinds.served_model import ServedModel
from serving.kinds.tabular.handler import TabularHandler
from serving.kinds.tabular.version import TabularVersion
from serving.runners.interface import ModelRef, RunnerResponse, RunnerStatus
from serving.settings.settings import Settings
from serving.versions.router import VersionRouter
from tests.serving.in_process_service import IMAGE_CARD, ROW, TABLE_CARD, png

CARDS: dict[str, Card] = {
    "a": TABLE_CARD,
    "wider": replace(TABLE_CARD, inputs=(*TABLE_CARD.inputs, replace(TABLE_CARD.inputs[0], name="more",
                                                                      required=False, nullable=True))),
    "turned": replace(TABLE_CARD, classes=("bad", "good"), inputs=tuple(reversed(TABLE_CARD.inputs))),
}  # fmt: skip


@dataclass
class SwappingRunner:
    """Holds one version. Its reported status lags behind: it is up to date only after `status` was called."""

    loaded: str
    reported: str
    widths: dict[str, int]
    # Versions that are swapped in, one each time that the status is read.
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
    return TabularHandler(served(runner, versions.__getitem__)), runner


def test_a_version_that_replaced_the_default_gets_the_rows_as_its_own_card_has_them() -> None:
    handler, runner = table("turned")
    response = asyncio.run(handler.predict([ROW])).to_response().model_dump()

    assert response["model"]["version"] == "turned"
    assert response["predictions"][0]["prediction"] == "bad"
    assert len(runner.payloads) == 2
    assert np.array_equal(runner.payloads[1], RowEncoder(CARDS["turned"]).encode([ROW]), equal_nan=True)


def test_rows_of_another_width_are_encoded_again() -> None:
    handler, runner = table("wider")
    prediction = asyncio.run(handler.predict([ROW]))

    assert prediction.model.version == "wider"
    assert [rows.shape[1] for rows in runner.payloads] == [len(CARDS["a"].inputs), len(CARDS["wider"].inputs)]


def test_a_failure_of_the_version_is_not_retried() -> None:
    handler, runner = table("a")
    runner.widths["a"] = 99
    with pytest.raises(PredictionFailed):
        asyncio.run(handler.predict([ROW]))
    assert len(runner.payloads) == 1


def test_a_model_that_is_swapped_twice_during_one_request_is_unavailable() -> None:
    handler, runner = table("turned", then=["wider"])
    with pytest.raises(RunnerUnavailable):
        asyncio.run(handler.predict([ROW]))
    assert len(runner.payloads) == 2


def test_a_named_version_that_is_not_loaded_is_unavailable_and_no_other_answers() -> None:
    handler, runner = table("turned")

    async def named() -> None:
        with requesting_version("a", location=("header", "X-Model-Version")):
            await handler.predict([ROW])

    with pytest.raises(RunnerUnavailable, match="version 'a' is not loaded at the moment"):
        asyncio.run(named())
    assert len(runner.payloads) == 1


def test_images_are_decoded_and_named_by_the_version_that_answers() -> None:
    def version(name: str) -> ImageVersion:
        side = {"a": 8, "alike": 8, "large": 16}[name]
        decoder = ImageDecoder(Preprocessing(resize=side, crop=side))
        classes = ("red", "green") if name == "a" else ("cat", "dog")
        card = replace(IMAGE_CARD, classes=classes)
        return ImageVersion(card, decoder.decode, decoder.fit, decoder.preprocessing)

    for loaded, label, calls in (("a", "red", 1), ("alike", "cat", 2), ("large", "cat", 2)):
        runner = SwappingRunner(loaded, "a", {"a": 8, "alike": 8, "large": 16})
        handler = ImageHandler(served(runner, version), Settings())
        try:
            one = asyncio.run(handler.classify(png()))
            assert len(runner.payloads) == calls
            several = asyncio.run(handler.classify_many([png(), b"none", png()]))
        finally:
            handler.close()
        assert (one.model.version, one.predictions[0].label) == (loaded, label)
        assert [result.status for result in several.results] == ["ok", "error", "ok"]
