"""The Python client of openapi-generator is generated, imported and makes every main call."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving.generated_clients.generators import openapi_generator, run
from tests.serving.http_server import listening
from tests.serving.in_process_service import ROW, LocalService, png

pytestmark = pytest.mark.slow

PACKAGE = "makunouchi_by_openapi_generator"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("openapi-generator")
    (folder / "openapi.json").write_bytes(LocalService().get("/openapi.json").content)
    options = ["-i", "openapi.json", "-g", "python", "-o", "client", "--package-name", PACKAGE]
    run([*openapi_generator(), "generate", *options], folder)
    sys.path.insert(0, str(folder / "client"))
    yield importlib.import_module(PACKAGE)
    sys.path.remove(str(folder / "client"))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pydantic.PydanticDeprecatedSince20")
def test_the_client_makes_every_main_call(package: Any, tmp_path: Path) -> None:
    cells = ("" if each is None else str(each) for each in ROW.values())
    table = (",".join(ROW) + "\n" + ",".join(cells) + "\n").encode()
    with listening(LocalService().edged) as address:
        client = package.ApiClient(package.Configuration(host=f"http://{address}"))
        images, jobs = package.ImagesApi(client), package.JobsApi(client)
        tabular, recommendations = package.TabularApi(client), package.RecommendationsApi(client)
        blue = png((0, 0, 255))

        assert images.classify_image(("blue.png", blue), top_k=1).predictions[0].label == "blue"
        assert images.classify_image_file(blue, top_k=1).predictions[0].label == "blue"
        assert len(images.classify_images([("a.png", blue), ("b.png", blue)]).results) == 2
        request = package.TabularRequest.from_dict({"instances": [ROW]})
        assert tabular.predict_tabular(request).predictions[0].prediction in ("good", "bad")
        # An id is plain text, not a wrapper of alternatives.
        assert recommendations.recommend(package.RecommendRequest(user_id="alice", n=2)).user_id == "alice"
        users = package.BulkRecommendRequest(user_ids=["alice", "bob"], n=2)
        assert len(recommendations.recommend_bulk(users).results) == 2
        tensor = {"name": "user_id", "shape": [1], "datatype": "BYTES", "data": ["alice"]}
        inferred = package.InferRequest.from_dict({"inputs": [tensor]})
        assert package.InferenceApi(client).infer_recommender(inferred).model_name == "recommender"
        assert package.ModelsApi(client).get_model("tabular").name == "tabular"
        assert len(package.ItemsApi(client).list_items(page_size=3).items) == 3

        job = tabular.submit_tabular_job(("table.csv", table))
        until = time.monotonic() + 60
        while jobs.get_job(job.id).status in ("queued", "running"):
            assert time.monotonic() < until
            time.sleep(0.05)
        (line,) = bytes(jobs.get_job_result(job.id)).splitlines()
        assert json.loads(line)["status"] == "ok"
