"""FastAPI with the model in its process, no batching: what most services start as."""

from __future__ import annotations

import os
from typing import Any

import uvicorn
from fastapi import FastAPI, UploadFile
from pydantic import BaseModel

from benchmarks.peers.workloads.chosen import chosen_workload, port

app = FastAPI()
workload = chosen_workload()


class Numbers(BaseModel):
    """The overhead scenario's request."""

    values: list[float]


class Table(BaseModel):
    """The tabular scenario's request."""

    instances: list[dict[str, float | int | bool | str | None]]


class User(BaseModel):
    """The recommender scenario's request."""

    user_id: str
    n: int = 10


def _answer(request: Any) -> Any:
    return workload.answers([workload.item(request)])[0]


if os.environ["BENCH_SCENARIO"] == "overhead":

    @app.post("/predict")
    async def predict_sum(body: Numbers) -> Any:
        return _answer(body.model_dump())

elif os.environ["BENCH_SCENARIO"] == "tabular":
    # `def`, not `async def`: a thread of the pool, so that the event loop is not held by the model.
    @app.post("/predict")
    def predict_rows(body: Table) -> Any:
        return _answer(body.model_dump())

elif os.environ["BENCH_SCENARIO"] == "image":

    @app.post("/predict")
    def predict_image(image: UploadFile) -> Any:
        return _answer(image.file.read())

else:

    @app.post("/predict")
    def predict_items(body: User) -> Any:
        return _answer(body.model_dump())


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=port(), log_level="warning", access_log=False)
