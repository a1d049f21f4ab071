"""The real service with a text classifier: jobs, BentoML's client, versions side by side, reload, metrics."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import bentoml
import pytest

from models.store.artifacts import versions
from tests.fixtures_default import own_home
from tests.live.server import Server, serving, wait_for
from tests.live.test_reload import ADMIN, KEYS, reload
from tests.training.text.example_texts import sentences_csv
from training.text.params import Params
from training.text.train import train

pytestmark = pytest.mark.live

SPORT = "The football match had a goal"


def classify(server: Server, **headers: str) -> dict[str, object]:
    response = server.post(
        "/v1/texts/classify",
        json={"text": SPORT},
        headers=ADMIN | {name.replace("_", "-"): value for name, value in headers.items()},
    )
    assert response.status_code == 200, response.text
    content: dict[str, object] = response.json()
    assert content["predictions"][0]["prediction"] == "sport"  # type: ignore[index]
    return content


def version_of(content: dict[str, object]) -> str:
    return str(content["model"]["version"])  # type: ignore[index]


def test_a_text_classifier_is_served_like_every_other_model(
    default_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = own_home(default_home, tmp_path_factory)
    data = sentences_csv(tmp_path_factory.mktemp("topics"))
    for seed in (0, 1):
        train(
            Params(data=data, text="message", target="topic", folds=2, seed=seed, name="topics"), store=home / "models"
        )
    new, old = (each.version for each in versions("topics", store=home / "models"))
    env = {"BENTOML_HOME": str(home), "MAKUNOUCHI_TEXT_MODEL": "topics:latest", "MAKUNOUCHI_API_KEYS": KEYS}
    with serving("service:Gateway", env=env) as server:
        assert server.get("/readyz", headers=ADMIN).json()["runners"]["text"]["model"]["version"] == new
        assert version_of(classify(server)) == new

        with bentoml.SyncHTTPClient(server.url, server_ready_timeout=60) as client:
            client.client.headers.update(ADMIN)
            assert client.classify_text(texts=[SPORT])["predictions"][0]["prediction"] == "sport"

        check_job(server)
        check_versions(server, old=old, new=new)
        counted = (
            'makunouchi_version_requests_total{model="topics"',
            'makunouchi_express_requests_total{route="/v1/texts/classify"}',
        )
        wait_for(lambda: all(each in metrics(server) for each in counted), f"metrics with {counted}")


def metrics(server: Server) -> str:
    return server.get("/metrics", headers=ADMIN).text


def check_job(server: Server) -> None:
    table = f"key,text\na,{SPORT}\nb,\n"
    sent = server.post(
        "/v1/texts/jobs", params={"id_column": "key"}, content=table, headers=ADMIN | {"Content-Type": "text/csv"}
    )
    assert sent.status_code == 202, sent.text
    path = sent.headers["Location"]
    wait_for(lambda: server.get(path, headers=ADMIN).json()["status"] == "succeeded", "the job")
    lines = server.get(f"{path}/result", headers=ADMIN | {"Accept": "text/csv"}).text.splitlines()
    assert len(lines) == 3
    assert "sport" in lines[1]


def check_versions(server: Server, *, old: str, new: str) -> None:
    """Split the traffic, name a version, and reload."""
    path = "/v1/models/topics/traffic"
    split = server.request("PUT", path, json={"weights": {new: 0.5, old: 0.5}}, headers=ADMIN)
    assert split.status_code == 200, split.text
    counts = Counter(version_of(classify(server, X_Session_ID=f"s{number}")) for number in range(40))
    assert set(counts) == {old, new}
    assert version_of(classify(server, X_Model_Version=old)) == old
    assert server.request("DELETE", path, headers=ADMIN).status_code == 200
    assert reload(server, "topics", old).status_code == 200
    wait_for(lambda: version_of(classify(server)) == old, "the reloaded version")
