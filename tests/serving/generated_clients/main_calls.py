"""The inputs of the main calls, and what they return: the same for the clients of all languages."""

from __future__ import annotations

import json
from pathlib import Path

from tests.serving.in_process_service import ROW, LocalService, png


def write_inputs(folder: Path) -> None:
    """Write the document, an image and a table to `folder`."""
    (folder / "openapi.json").write_bytes(LocalService().get("/docs.json").content)
    (folder / "image.png").write_bytes(png((0, 0, 255)))
    cells = ("" if each is None else str(each) for each in ROW.values())
    (folder / "table.csv").write_text(",".join(ROW) + "\n" + ",".join(cells) + "\n")


def check_outcome(printed: str) -> None:
    """Check what a client prints: a value of each response."""
    outcome = json.loads(printed)
    result = json.loads(outcome.pop("result"))
    service = LocalService()
    predicted = service.post("/v1/tabular/predict", json={"instances": [ROW]}).json()
    request = {"user_id": "alice", "n": 2, "user_features": {"age": 25}}
    recommended = service.post("/v1/recommendations", json=request).json()
    assert (result["index"], result["status"]) == (0, "ok")
    assert outcome == {
        "byForm": "blue",
        "byFile": "blue",
        "byJson": "blue",
        "several": 2,
        "prediction": predicted["predictions"][0]["prediction"],
        "user": "alice",
        "score": recommended["items"][0]["score"],
        "users": ["alice", "bob"],
        "infers": "recommender",
        "model": "tabular",
        "seed": 7,
        "items": 3,
        "similar": service.get("/v1/items?page_size=1").json()["items"][0]["item_id"],
        "accepted": 1,
        "health": "ok",
    }
