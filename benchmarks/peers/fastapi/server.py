"""FastAPI with the model in the server process, without batching."""

from __future__ import annotations

import os
from typing import Any

import uvicorn
from fastapi import FastAPI, UploadFile
from pydantic import BaseModel

from benchmarks.peers.workloads.loader import load_workload, port

app = FastAPI()
workload = load_workload()


class Numbers(BaseModel):
    """Request of the overhead scenario."""

    values: list[float]


class Table(BaseModel):
    """Request of the tabular scenario."""

    instances: list[dict[str, float | int | bool | str | None]]


class User(BaseModel):
    """Request of the recommender scenario."""

    user_id: str
    n: int = 10


def _predict(request: Any) -> Any:
    return workload.predict([workload.preprocess(request)])[0]


if os.environ["BENCH_SCENARIO"] == "overhead":

    @app.post("/predict")
    async def predict_sum(body: Numbers) -> Any:
        return _predict(body.model_dump())

elif os.environ["BENCH_SCENARIO"] == "tabular":
    # `def`, not `async def`: FastAPI runs it in a thread, so that the model does not block the event loop.
    @app.post("/predict")
    def predict_rows(body: Table) -> Any:
        return _predict(body.model_dump())

elif os.environ["BENCH_SCENARIO"] == "image":

    @app.post("/predict")
    def predict_image(image: UploadFile) -> Any:
        return _predict(image.file.read())

else:

    @app.post("/predict")
    def predict_items(body: User) -> Any:
        return _predict(body.model_dump())


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=port(), log_level="warning", access_log=False)
