"""The main operations, in this process, with small models."""

from __future__ import annotations

import pytest

from tests.serving.in_process_service import COLOURS, ROW, LocalService, png


def test_classify_image(local_service: LocalService) -> None:
    response = local_service.post_image(png((0, 0, 255)), top_k="3")

    assert response.status_code == 200
    answer = response.json()
    assert answer["model"] == {"name": "image", "version": "v1"}
    assert len(answer["predictions"]) == 3
    assert answer["predictions"][0]["label"] == "blue"
    assert answer["predictions"][0]["class_id"] == COLOURS.index("blue")
    confidences = [prediction["confidence"] for prediction in answer["predictions"]]
    assert confidences == sorted(confidences, reverse=True)
    assert answer["inference_time_ms"] >= 0


def test_classify_image_returns_five_classes_by_default(local_service: LocalService) -> None:
    assert len(local_service.post_image(png()).json()["predictions"]) == 5


def test_classes_below_the_threshold_are_omitted(local_service: LocalService) -> None:
    confidences = [each["confidence"] for each in local_service.post_image(png(), top_k="20").json()["predictions"]]
    assert len(confidences) == len(COLOURS)

    predictions = local_service.post_image(png(), top_k="20", threshold="0.1").json()["predictions"]

    assert [each["confidence"] for each in predictions] == [each for each in confidences if each >= 0.1]
    assert 0 < len(predictions) < len(COLOURS)
    assert local_service.post_image(png(), threshold="1").json()["predictions"] == []


def test_classify_images_answers_in_order(local_service: LocalService) -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    files = [("images", (f"{number}.png", png(colour))) for number, colour in enumerate(colours)]

    answer = local_service.post("/v1/images/classify-batch", files=files, data={"top_k": "6"}).json()

    assert [result["index"] for result in answer["results"]] == [0, 1, 2]
    shares = [{each["label"]: each["confidence"] for each in result["predictions"]} for result in answer["results"]]
    assert shares[2]["blue"] == max(shares[2].values())
    assert shares[1]["green"] > shares[0]["green"]
    assert local_service.images.calls == [3]


def test_a_batch_without_a_readable_image_does_not_call_the_model(local_service: LocalService) -> None:
    answer = local_service.post("/v1/images/classify-batch", files={"images": ("a.png", b"no image")}).json()

    assert answer["model"] is None
    assert answer["results"][0]["error"]["status"] == 415
    assert local_service.images.calls == []


def test_predict_tabular(local_service: LocalService) -> None:
    answer = local_service.post(
        "/v1/tabular/predict", json={"instances": [ROW, {**ROW, "age": 3, "credit amount": 1}]}
    ).json()

    assert answer["model"] == {"name": "tabular", "version": "v1"}
    assert [row["prediction"] for row in answer["predictions"]] == ["bad", "good"]
    for row in answer["predictions"]:
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["prediction"] == max(row["probabilities"], key=lambda name: row["probabilities"][name])


def test_a_thousand_rows_are_predicted_at_once(local_service: LocalService) -> None:
    answer = local_service.post("/v1/tabular/predict", json={"instances": [ROW] * 1000}).json()

    assert len(answer["predictions"]) == 1000
    assert local_service.table.calls == [1000]


def test_the_card_can_allow_unknown_categories(local_service: LocalService) -> None:
    response = local_service.post("/v1/tabular/predict", json={"instances": [{**ROW, "purpose": "boat"}]})

    assert response.status_code == 200


def test_recommend(local_service: LocalService) -> None:
    answer = local_service.post("/v1/recommendations", json={"user_id": "alice", "n": 3}).json()

    assert answer["user_id"] == "alice"
    assert answer["reason"] is None
    assert [item["item_id"] for item in answer["items"]] == ["20", "27", "34"]
    assert answer["items"][0] == {"item_id": "20", "title": "Item 20", "score": 6.0, "causes": []}


def test_recommend_can_include_seen_items(local_service: LocalService) -> None:
    answer = local_service.post("/v1/recommendations", json={"user_id": "alice", "n": 3, "filter_seen": False}).json()

    assert [item["item_id"] for item in answer["items"]] == ["6", "13", "20"]


@pytest.mark.parametrize("user_id", ["7", 7, 7.0])
def test_a_numeric_user_id_is_converted_to_a_string(local_service: LocalService, user_id: object) -> None:
    answer = local_service.post("/v1/recommendations", json={"user_id": user_id}).json()

    assert answer["user_id"] == "7"
    assert answer["reason"] is None
    assert len(answer["items"]) == 10


def test_an_unknown_user_gets_popular_items_and_the_reason(local_service: LocalService) -> None:
    answer = local_service.post("/v1/recommendations", json={"user_id": "nobody"}).json()

    assert answer["reason"] == "unknown_user"
    assert len(answer["items"]) == 10


def test_recommend_bulk_answers_in_order_and_isolates_failures(local_service: LocalService) -> None:
    response = local_service.post(
        "/v1/recommendations/bulk", json={"user_ids": ["bob", "broken", "alice", 7, "who"], "n": 2}
    )

    results = response.json()["results"]
    assert [result["index"] for result in results] == [0, 1, 2, 3, 4]
    assert [result["user_id"] for result in results] == ["bob", "broken", "alice", "7", "who"]
    assert [result["status"] for result in results] == ["ok", "error", "ok", "ok", "ok"]
    assert [result.get("reason") for result in results] == [None, None, None, None, "unknown_user"]
    assert results[1]["error"]["type"] == "/problems/prediction-failed"
    assert "secret" not in response.text


def test_bulk_can_refuse_unknown_users_one_by_one(local_service: LocalService) -> None:
    body = {"user_ids": ["alice", "who"], "unknown_user": "error"}

    results = local_service.post("/v1/recommendations/bulk", json=body).json()["results"]

    assert results[0]["status"] == "ok"
    assert results[1]["error"]["status"] == 404


def test_predictions_are_not_stored_by_http_caches(local_service: LocalService) -> None:
    assert local_service.post("/v1/tabular/predict", json={"instances": [ROW]}).headers["cache-control"] == "no-store"


def test_the_native_paths_return_the_same_responses(local_service: LocalService) -> None:
    public = local_service.post("/v1/tabular/predict", json={"instances": [ROW]}).json()
    native = local_service.post("/predict_tabular", json={"instances": [ROW]}).json()

    assert native["predictions"] == public["predictions"]


def test_the_application_can_be_closed_and_called_again(local_service: LocalService) -> None:
    assert local_service.post_image(png()).status_code == 200
    local_service.handlers.close()
    local_service.handlers.close()
    assert local_service.post_image(png()).status_code == 200
