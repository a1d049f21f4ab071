"""Protection that depends on processes: a runner served by itself, files, keys that change, and local callers."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.access.api_keys import hash_of
from tests.live.server import END_S, Server, serving, wait_for

pytestmark = pytest.mark.live

PROJECT = Path(__file__).parent / "projects" / "feedback"
KEY = {"X-API-Key": "mk_of-the-shop"}
LINE = f"shop:admin:{hash_of(KEY['X-API-Key'])}\n"
# Of the project.
GATEWAYS = 2
RATE_LIMIT = 3


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def service(home: Path) -> Iterator[Server]:
    (home / "keys").write_text(LINE)
    env = {
        "BENTOML_HOME": str(home / "bentoml"),
        "FEEDBACK_LOG": f"sqlite:///{home}/bentoml/makunouchi/feedback.db",
        "MAKUNOUCHI_API_KEYS_FILE": str(home / "keys"),
        "MAKUNOUCHI_RATE_LIMIT": str(RATE_LIMIT),
        # No gateway admits another guess during a slow test.
        "MAKUNOUCHI_RATE_LIMIT_PERIOD_S": "3600",
        "MAKUNOUCHI_RATE_LIMIT_PREDICT": "0",
    }
    with serving("service:Feedback", folder=PROJECT, env=env) as server:
        yield server


def test_local_callers_cannot_choose_the_address_of_their_guesses(service: Server) -> None:
    guesses = [{"X-API-Key": f"guess {number}", "X-Forwarded-For": f"203.0.113.{number}"} for number in range(12)]
    statuses = Counter(service.get("/v1/items", headers=guess).status_code for guess in guesses)
    assert set(statuses) == {401, 429}
    # The gateways count separately, whichever of them answers a connection.
    assert statuses[401] <= GATEWAYS * RATE_LIMIT


def test_a_file_of_keys_that_cannot_be_read_is_reported_and_refuses_no_request(service: Server, home: Path) -> None:
    (home / "keys").write_bytes(LINE.encode() + b"\xff\n")
    event = {"user_id": "u", "item_id": "1", "kind": "like"}

    def faults() -> set[str]:
        # A gateway reads the file when a request has a key.
        assert service.post("/v1/feedback", json={"events": [event]}, headers=KEY).status_code == 202
        return set(service.get("/health").json()["faults"])

    wait_for(lambda: faults() == {"api_keys_file"}, "the fault is reported")
    wait_for(lambda: 'makunouchi_watch_failing{watch="api_keys_file"} 1.0' in service.get("/metrics").text, "metrics")
    assert "cannot read the file of API keys, the previous keys remain valid: byte" in service.log

    (home / "keys").write_text(LINE)
    wait_for(lambda: faults() == set(), "the end of the fault")


def test_no_other_user_can_read_what_the_service_writes(service: Server, home: Path) -> None:
    written = [*(home / "bentoml").rglob("*"), *(each for each in service.temporary.iterdir() if each.name != "log")]
    # BentoML makes these folders, which remain empty.
    empty = ("bentos", "envs", "models", "prometheus_multiproc_dir", "tmp")
    own = [path for path in written if path.name not in empty]
    assert not any(path.parent.name in empty for path in own)
    assert {"feedback.db", "feedback.db-wal"} <= {path.name for path in own}
    open_to_others = [path for path in own if path.lstat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    assert open_to_others == []


def test_a_runner_served_by_itself_requires_its_token(tmp_path: Path) -> None:
    env = {
        "FEEDBACK_LOG": f"sqlite:///{tmp_path}/feedback.db",
        "MAKUNOUCHI_ENVIRONMENT": "production",
    }
    with serving("service:LibraryRunner", folder=PROJECT, env=env, wait=False) as refused:
        assert refused.process.wait(END_S) == 1
        assert "error: setting MAKUNOUCHI_RUNNER_TOKEN: production requires it" in refused.log

    token = "of-the-library-" * 3
    with serving("service:LibraryRunner", folder=PROJECT, env=env | {"MAKUNOUCHI_RUNNER_TOKEN": token}) as runner:
        for path in ("/runner/status", "/runner/example", "/schema.json", "/docs.json", "/"):
            assert runner.get(path).status_code == 401, path
        for path in ("/runner/ask", "/runner/reload", "/runner/versions", "/ask"):
            assert runner.post(path, json={"queries": []}).status_code == 401, path
        credential = {"Authorization": f"Bearer {token}"}
        assert runner.get("/runner/status", headers=credential).json()["detail"] == ""
        assert runner.post("/ask", json={"queries": []}, headers=credential).status_code != 401
        # From this host, whatever the caller says about its address.
        remote = {**credential, "X-Forwarded-For": "203.0.113.9"}
        assert runner.post("/runner/reload", json={"version": None}, headers=remote).status_code != 403
        assert token not in runner.log
