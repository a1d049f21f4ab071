"""Metrics, parameters, versions and schema of a model, each at its own address."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.serving.in_process_service import TABLE_CARD, LocalService

OVERALL = dict(TABLE_CARD.metrics)
FEMALE, MALE, GOOD = {"accuracy": 0.88}, {"accuracy": 0.91}, {"recall": 0.7}


@pytest.mark.parametrize(
    ("query", "overall", "classes", "slices"),
    [
        ("", OVERALL, {"good": GOOD}, {"sex=female": FEMALE, "sex=male": MALE}),
        ("?filter=overall", OVERALL, {}, {}),
        ("?filter=class", {}, {"good": GOOD}, {}),
        ("?filter=slice", {}, {}, {"sex=female": FEMALE, "sex=male": MALE}),
        ("?filter=sex", {}, {}, {"sex=female": FEMALE, "sex=male": MALE}),
        ("?filter=sex%3Dmale", {}, {}, {"sex=male": MALE}),
        ("?filter=class%3Dgood", {}, {"good": GOOD}, {}),
    ],
)
def test_metrics_are_overall_by_class_and_by_slice(
    local_service: LocalService, query: str, overall: Any, classes: Any, slices: Any
) -> None:
    answer = local_service.get(f"/v1/models/tabular/metrics{query}").json()

    evaluation = {"overall": overall, "classes": classes, "slices": slices, "notes": []}
    assert answer == {"name": "tabular", "version": "v1"} | evaluation


def test_metrics_that_were_not_measured_by_class_say_so(local_service: LocalService) -> None:
    for name, why in (("image", "not labelled with each of the classes"), ("recommender", "has no classes")):
        answer = local_service.get(f"/v1/models/{name}/metrics?filter=class").json()
        assert answer["classes"] == answer["overall"] == {}
        assert why in answer["notes"][-1]


def test_a_column_may_be_called_class(local_service: LocalService) -> None:
    local_service.table_card = replace(
        TABLE_CARD, slices={"class=true": FEMALE, "class=good": GOOD}, description="Of 9."
    )
    answer = local_service.get("/v1/models/tabular/metrics").json()

    assert (answer["classes"], answer["slices"]) == ({"good": GOOD}, {"class=true": FEMALE})
    assert answer["notes"] == ["Of 9."]


def test_parameters_together_and_one_by_one(local_service: LocalService) -> None:
    params = local_service.get("/v1/models/tabular/params").json()["params"]
    one = local_service.get("/v1/models/tabular/params/trees.depth").json()

    assert params == {"seed": 7, "trees.depth": 4, "note": None}
    assert one == {"name": "tabular", "version": "v1", "param": "trees.depth", "value": 4}
    assert local_service.get("/v1/models/tabular/params/note").json()["value"] is None


def test_versions_are_newest_first(local_service: LocalService) -> None:
    versions = local_service.get("/v1/models/tabular/versions").json()["versions"]

    assert [(each["version"], each["served"]) for each in versions] == [("v1", True), ("v0", False)]


def test_the_schema_is_that_of_the_card(local_service: LocalService) -> None:
    schema = local_service.get("/v1/models/tabular/schema").json()

    assert [each["name"] for each in schema["inputs"]] == [column.name for column in TABLE_CARD.inputs]
    assert schema["classes"] == ["good", "bad"]
    assert schema["task"] == "tabular-classification"


def test_a_query_selects_another_version(local_service: LocalService) -> None:
    assert local_service.get("/v1/models/tabular/metrics?version=v0").json()["version"] == "v0"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("other/metrics", "known: image, recommender, tabular"),
        ("tabular/metrics?filter=shoe", "known: class, overall, sex, slice"),
        ("tabular/params/shoe", "known: seed, trees.depth, note"),
        ("tabular/schema?version=v9", "known: v1, v0"),
        ("other/versions", "known: image, recommender, tabular"),
    ],
)
def test_an_unknown_name_lists_the_known_ones(local_service: LocalService, path: str, message: str) -> None:
    response = local_service.get(f"/v1/models/{path}")

    assert response.status_code == 404
    assert message in response.json()["detail"]


@pytest.mark.parametrize("part", ["metrics", "params", "params/seed", "versions", "schema"])
def test_parts_have_etags(local_service: LocalService, part: str) -> None:
    first = local_service.get(f"/v1/models/tabular/{part}")

    again = local_service.get(f"/v1/models/tabular/{part}", headers={"If-None-Match": first.headers["ETag"]})

    assert again.status_code == 304
