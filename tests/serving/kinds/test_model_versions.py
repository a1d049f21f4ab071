"""While one version follows another, an answer is told by the card of the version that gave it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.card import Card
from models.errors import PredictionFailed, RunnerUnavailable
from models.image.preprocessing import ImageDecoder, Preprocessing
from models.tabular.row_encoder import RowEncoder
from serving.kinds.image.handler import ImageHandler
from serving.kinds.served_models import ImageModelVersion, ServedImages, ServedTable
from serving.kinds.tabular.handler import TabularHandler
from serving.runners.interface import FailedBy, ModelRef, RowsAnswer, RunnerStatus
from serving.settings.settings import Settings
from tests.serving.in_process_service import IMAGE_CARD, ROW, TABLE_CARD, png

CARDS: dict[str, Card] = {
    "a": TABLE_CARD,
    "wider": replace(TABLE_CARD, inputs=(*TABLE_CARD.inputs, replace(TABLE_CARD.inputs[0], name="more",
                                                                      required=False, nullable=True))),
    "turned": replace(TABLE_CARD, classes=("bad", "good"), inputs=tuple(reversed(TABLE_CARD.inputs))),
}  # fmt: skip


@dataclass
class Changing:
    """Answers with the next of `versions` each time, as a runner in the middle of swaps; the last one stays."""

    versions: list[str]
    widths: dict[str, int]
    name: str = "m"
    asked: list[NDArray[Any]] = field(default_factory=list)

    async def predict(
        self, rows: NDArray[Any], *, deadline: float, version: str = "", method: str = "", is_low_priority: bool = False
    ) -> RowsAnswer:
        version = self.versions.pop(0) if len(self.versions) > 1 else self.versions[0]
        self.asked.append(rows)
        if rows.shape[1] != self.widths[version]:
            raise FailedBy("the model could not answer", ModelRef(self.name, version))
        return RowsAnswer(np.tile(np.array([0.9, 0.1], np.float32), (len(rows), 1)), ModelRef(self.name, version))

    async def status(self, *, timeout_s: float) -> RunnerStatus:
        return RunnerStatus(ready=True, model=None)


def table(*versions: str) -> tuple[TabularHandler, Changing]:
    runner = Changing(list(versions), {name: len(card.inputs) for name, card in CARDS.items()})
    served = ServedTable(runner, lambda: CARDS["a"], RowEncoder, CARDS.__getitem__)
    return TabularHandler(served, Settings()), runner


def test_rows_are_encoded_and_told_by_the_version_that_answers() -> None:
    calls, runner = table("turned")
    answer = asyncio.run(calls.predict([ROW])).model_dump()

    assert answer["model"]["version"] == "turned"
    assert answer["predictions"][0]["prediction"] == "bad"
    assert len(runner.asked) == 2
    assert np.array_equal(runner.asked[1], RowEncoder(CARDS["turned"]).encode([ROW]), equal_nan=True)


def test_rows_of_another_width_are_asked_again_and_not_failed() -> None:
    calls, runner = table("wider")
    answer = asyncio.run(calls.predict([ROW]))

    assert answer.model.version == "wider"
    assert [rows.shape[1] for rows in runner.asked] == [len(CARDS["a"].inputs), len(CARDS["wider"].inputs)]


def test_a_failure_of_the_version_that_was_meant_is_a_failure() -> None:
    calls, runner = table("a")
    runner.widths["a"] = 99
    with pytest.raises(PredictionFailed):
        asyncio.run(calls.predict([ROW]))
    assert len(runner.asked) == 1


def test_a_model_that_never_settles_is_unavailable() -> None:
    calls, _ = table("turned", "a", "turned", "a", "turned")
    with pytest.raises(RunnerUnavailable):
        asyncio.run(calls.predict([ROW]))


def test_images_are_decoded_and_named_by_the_version_that_answers() -> None:
    def edition(version: str | None) -> ImageModelVersion:
        side = {"a": 8, "alike": 8, "large": 16}[version or "a"]
        made = ImageDecoder(Preprocessing(resize=side, crop=side))
        classes = ("red", "green") if version in (None, "a") else ("cat", "dog")
        return ImageModelVersion(replace(IMAGE_CARD, classes=classes), made.decode, made.fit, takes=made.preprocessing)

    for version, label, times in (("a", "red", 1), ("alike", "cat", 1), ("large", "cat", 2)):
        runner = Changing([version], {"a": 8, "alike": 8, "large": 16})
        calls = ImageHandler(
            ServedImages(runner, lambda: IMAGE_CARD, edition(None).decode, edition(None).fit, edition), Settings()
        )
        try:
            one = asyncio.run(calls.classify(png()))
            several = asyncio.run(calls.classify_many([png(), b"none", png()]))
        finally:
            calls.close()
        assert (one.model.version, one.predictions[0].label) == (version, label)
        assert [result.status for result in several.results] == ["ok", "error", "ok"]
        assert len(runner.asked) == 2 * times
