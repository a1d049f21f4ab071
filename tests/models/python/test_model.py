"""Tests of a user's class at serving time: its types, its thread, and what a batch of it may not return."""

from __future__ import annotations

import dataclasses
import gc
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from models.errors import ArtifactInvalid, InvalidInput, PredictionFailed
from models.python.model import PythonModel
from models.python.signature import is_same_schema
from models.store.artifacts import Artifact
from serving.runners.host.batch_method import BatchMethod
from serving.runners.interface import ModelRef
from serving.runners.wire import WireRequest, WireResponse
from tests.models.python import example_classes
from tests.models.python.example_artifacts import saved


def rows(*instances: Any) -> list[dict[str, Any]]:
    return [{"instance": instance} for instance in instances]


def load(class_name: str, folder: Path) -> PythonModel:
    return PythonModel.load(saved(class_name, folder / "models"))


def test_pydantic_models_answer(tmp_path: Path) -> None:
    model = load("Sentiment", tmp_path)
    assert model.predict(rows({"text": "good good"}, {"text": "bad", "stars": 3.0})) == [
        {"prediction": {"positive": True, "score": 2.0}},
        {"prediction": {"positive": False, "score": -1.0}},
    ]
    assert model.predict(model.example()) == [{"prediction": {"positive": True, "score": 1.0}}]


def test_plain_types_dataclasses_and_typed_dicts_answer(tmp_path: Path) -> None:
    assert load("Length", tmp_path).predict(rows("four", "")) == [{"prediction": 4}, {"prediction": 0}]
    (tmp_path / "shapes").mkdir()
    artifact = saved("Shapes", tmp_path / "shapes" / "models", example='{"x": 3, "y": 4}')
    shapes = PythonModel.load(artifact)
    assert shapes.predict(rows({"x": 3, "y": 4})) == [{"prediction": {"radius": 5.0, "born": "2026-01-02"}}]


def test_an_invalid_row_is_named_before_the_class_is_called(tmp_path: Path) -> None:
    model = load("Faulty", tmp_path)
    with pytest.raises(InvalidInput) as caught:
        model.predict(rows({"do": "raise"}, {"do": "sing"}))
    assert caught.value.location == (1, "do")


@pytest.mark.parametrize(
    ("do", "message"),
    [
        ("text", "field 'value' is str (float_parsing)"),
        ("nan", "field 'value': Input should be a valid number"),
        ("surrogate", "Answer cannot be written as JSON"),
    ],
)
def test_an_invalid_result_is_named_without_its_content(tmp_path: Path, do: str, message: str) -> None:
    with pytest.raises(PredictionFailed) as caught:
        load("Faulty", tmp_path).predict(rows({"do": do}))
    expected = "predict of tests.models.python.example_classes:Faulty returned an invalid result: "
    assert str(caught.value) == expected + message
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_one_failing_row_does_not_affect_the_other_requests_of_its_batch(tmp_path: Path) -> None:
    model = load("Faulty", tmp_path)
    method = BatchMethod(model.predict, last_used=lambda: ModelRef("faulty", "1"), name="faulty")
    requests = [
        WireRequest(rows({"do": do}), 1, do, float("inf"))
        for do in ("answer", "raise", "answer", "text", "refuse", "exit", "answer")
    ]
    results = method.run_now(requests)
    assert [type(each) for each in results] == [
        WireResponse, PredictionFailed, WireResponse, PredictionFailed, InvalidInput, PredictionFailed, WireResponse,
    ]  # fmt: skip


def test_all_calls_of_a_class_come_from_one_thread_which_ends_with_it(tmp_path: Path) -> None:
    example_classes.Faulty.threads.clear()
    artifact = saved("Faulty", tmp_path / "models")
    example_classes.Faulty.threads.clear()
    model = PythonModel.load(artifact)
    threads = [threading.Thread(target=model.predict, args=(rows({}),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (used,) = example_classes.Faulty.threads
    assert used not in {threading.get_ident(), *(thread.ident for thread in threads)}
    del model
    gc.collect()
    until = time.monotonic() + 10
    while used in {thread.ident for thread in threading.enumerate()}:
        assert time.monotonic() < until
        time.sleep(0.01)


def with_code(artifact: Artifact, **changes: Any) -> Artifact:
    code = artifact.card.code
    assert code is not None
    card = dataclasses.replace(artifact.card, code=dataclasses.replace(code, **changes))
    return dataclasses.replace(artifact, card=card)


def test_a_class_that_does_not_fit_its_artifact_is_not_served(tmp_path: Path) -> None:
    artifact = saved("Sentiment", tmp_path / "models")
    module = "tests.models.python.example_classes"
    for changes, message in (
        ({"reference": f"{module}:Gone"}, f"no class 'Gone' in module '{module}'; its classes: Review, "),
        ({"reference": "mymodels.gone:Gone"}, "no module 'mymodels'"),
        ({"reference": "nonsense"}, "expected package.module:Class"),
        ({"input": {"type": "string"}}, "the input type of class"),
        ({"output": {"type": "string"}}, "the output type of class"),
    ):
        with pytest.raises(ArtifactInvalid, match=message.replace("'", ".")):
            PythonModel.load(with_code(artifact, **changes))
    (artifact.folder / "weights" / "words.json").unlink()
    with pytest.raises(ArtifactInvalid, match=r"could not load artifact.*FileNotFoundError"):
        PythonModel.load(artifact)


def test_texts_of_a_schema_may_change() -> None:
    one = {"title": "A", "properties": {"title": {"type": "string", "description": "x"}}}
    assert is_same_schema(one, {"properties": {"title": {"type": "string"}}})
    assert not is_same_schema(one, {"properties": {"description": {"type": "string"}}})
