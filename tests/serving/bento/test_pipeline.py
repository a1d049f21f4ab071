"""Tests of the calls between models: which of them cannot work, and what a batch hands to the call."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from models.card import CodeInterface
from models.errors import ArtifactInvalid, Overloaded, PredictionFailed, RunnerUnavailable
from models.python.model import PythonModel
from serving.bento.pipeline import Pipeline, pipeline_fault
from serving.context import NO_DEADLINE, current_context, current_request_id
from serving.kinds.registry import ServiceSettings
from serving.runners.host.batch_method import BatchMethod
from serving.runners.interface import ModelRef
from serving.runners.wire import WireRequest, WireResponse
from tests.models.python.example_artifacts import saved

NO_MODELS: Any = SimpleNamespace(by_name={}, failed={}, desired=list)


def served(uses: dict[str, tuple[str, ...]], *, shared: tuple[str, ...] = (), inline: tuple[str, ...] = ()) -> Any:
    """Models that use each other. Those in `shared` run in one process, and those in `inline` in the gateway."""

    class Models(dict[str, Any]):
        by_name: dict[str, Any]
        failed: dict[str, Any] = {}  # noqa: RUF012  (never changed)

        def __iter__(self) -> Any:
            return iter(self.by_name.values())

    def model(name: str) -> Any:
        code = CodeInterface("module:Class", {}, {}, uses=uses[name])
        return SimpleNamespace(
            name=name,
            artifacts=SimpleNamespace(read=lambda: SimpleNamespace(card=SimpleNamespace(code=code))),
            placed="shared" if name in shared else name,
            entry=SimpleNamespace(placement="inline" if name in inline else "process"),
        )

    models = Models()
    models.by_name = {name: model(name) for name in uses}
    return models


@pytest.mark.parametrize(
    ("models", "fault"),
    [
        (served({"a": ("b", "c"), "b": ("c",), "c": ()}), ""),
        (served({"a": ("gone",)}), "model 'a' uses 'gone', which is not served; served: a"),
        (served({"a": ("a",)}), "models use each other in a cycle: a -> a"),
        (served({"x": ("a",), "a": ("b",), "b": ("c",), "c": ("a",)}), "in a cycle: a -> b -> c -> a"),
        (served({"a": ("b",), "b": ()}, shared=("a", "b")), "model 'a' uses 'b', which runs in the same process"),
        (served({"a": ("b",), "b": ()}, inline=("b",)), "model 'a' uses 'b', whose placement is `inline`"),
    ],
)
def test_models_that_cannot_ask_each_other_are_named(models: Any, fault: str) -> None:
    found = pipeline_fault(models)
    assert found.endswith(fault) if fault.startswith("in") else found.startswith(fault) and bool(found) == bool(fault)


def test_a_new_model_counts_in_the_place_of_the_one_with_its_name() -> None:
    models = served({"a": ("b",), "b": ()})
    new = served({"a": ("b",), "b": ("a",)}).by_name["b"]
    assert pipeline_fault(models) == ""
    assert pipeline_fault(models, new=new) == "models use each other in a cycle: a -> b -> a"


def test_a_batch_gives_its_latest_deadline_and_its_trace_to_the_model() -> None:
    seen: list[Any] = []

    def predict(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        seen.append((current_context().deadline, current_context().traceparent, current_request_id()))
        return rows

    method = BatchMethod(predict, last_used=lambda: ModelRef("m", "1"), name="m")
    now = time.monotonic()
    requests = [WireRequest([{}], 1, "one", now + 5, "00-ab-cd-01"), WireRequest([{}], 1, "two", now + 9)]
    assert all(isinstance(each, WireResponse) for each in method.run_now(requests))
    assert seen == [(now + 9, "00-ab-cd-01", "one")]
    assert current_context() is NO_DEADLINE


def test_a_model_that_another_cannot_be_asked_for_fails_as_that_one_did() -> None:
    calls: list[int] = []

    def predict(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        calls.append(len(rows))
        raise Overloaded("too many requests wait for this model")

    method = BatchMethod(predict, last_used=lambda: ModelRef("m", "1"), name="m")
    results = method.run_now([WireRequest([{}], 1, "id", float("inf")) for _ in range(4)])
    assert [type(each) for each in results] == [Overloaded] * 4
    # No request is at fault: the batch is not halved.
    assert calls == [4]


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(PredictionFailed, match="no model 'churn' is served"):
        Pipeline(NO_MODELS, ServiceSettings()).ask("churn", [1])


def test_a_class_asks_the_models_that_it_names(tmp_path: Path) -> None:
    artifact = saved("Asking", tmp_path / "models", name="asking")
    code = artifact.card.code
    assert code is not None
    assert (code.uses, code.example_prediction) == (("lengths", "others"), None)
    asked: list[Any] = []

    def ask(name: str, rows: Any) -> list[Any]:
        asked.append((name, rows))
        return [len(row) for row in rows]

    model = PythonModel.load(artifact, ask)
    assert model.predict([{"instance": "four"}, {"instance": "a"}]) == [{"prediction": 4}, {"prediction": 1}]
    assert asked == [("lengths", ["four", "a"])]
    with pytest.raises(KeyError, match="'gone' is not in `uses` of the class: lengths, others"):
        model.predict([{"instance": "gone"}])
    with pytest.raises(PredictionFailed, match="there is no service with other models"):
        PythonModel.load(artifact).predict([{"instance": "four"}])


def test_uses_has_to_be_names(tmp_path: Path) -> None:
    with pytest.raises(ArtifactInvalid, match="`uses` of class 'WrongUses' has to be names of models"):
        saved("WrongUses", tmp_path / "models")


def test_a_runner_without_a_known_address_is_unavailable() -> None:
    placed = SimpleNamespace(runner=None, url=None, on=SimpleNamespace(name="B"))
    entry = SimpleNamespace(name="b")
    model = SimpleNamespace(name="b", entry=entry, placed=placed)
    models: Any = SimpleNamespace(by_name={"b": model}, failed={}, desired=lambda: [entry])
    with pytest.raises(RunnerUnavailable, match="the runner of model 'b' has no address"):
        Pipeline(models, ServiceSettings()).ask("b", [1])
