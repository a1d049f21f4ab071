"""Tests of a traffic split on the real service, with a killed runner and a restart."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from models.store.artifacts import find
from serving.versions.traffic_split import TrafficSplit
from tests.fixtures_default import own_home
from tests.live.server import Server, serving, wait_for
from tests.live.test_reload import ADMIN, KEYS, MARK, relabelled, reload
from tests.live.test_runner_loss import tabular_example

pytestmark = pytest.mark.live

SESSIONS = 40


class Caller:
    """A client of the tabular model with many sessions."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._row = tabular_example(server)

    def version(self, **headers: str) -> str:
        """Return the version of a prediction, after a check that its class belongs to that version."""
        response = self.server.post(
            "/v1/tabular/predict",
            json={"instances": [self._row]},
            headers=ADMIN | {name.replace("_", "-"): value for name, value in headers.items()},
        )
        assert response.status_code == 200, response.text
        version = str(response.json()["model"]["version"])
        assert response.json()["predictions"][0]["prediction"].startswith(MARK) == (version in ("b", "c"))
        return version

    def session_versions(self) -> dict[str, str]:
        """Return the version of each session."""
        return {f"s{number}": self.version(X_Session_ID=f"s{number}") for number in range(SESSIONS)}

    def metrics(self) -> dict[str, float]:
        """Return the metrics of versions by name and labels."""
        lines = self.server.get("/metrics", headers=ADMIN).text.splitlines()
        samples = [
            line.rpartition(" ") for line in lines if line.startswith(("makunouchi_version", "makunouchi_shadow"))
        ]
        return {name: float(value) for name, _, value in samples}


def test_canary_and_shadow_survive_a_killed_runner_and_a_restart(
    default_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = own_home(default_home, tmp_path_factory)
    for version in ("b", "c"):
        relabelled(home, "tabular", version)
    first = find("tabular", store=home / "models").version
    plan = TrafficSplit({first: 0.5, "b": 0.5}, "c")
    expected = {f"s{number}": plan.choose(f"tabular\0session:s{number}") for number in range(SESSIONS)}
    env = {"BENTOML_HOME": str(home), "MAKUNOUCHI_API_KEYS": KEYS}

    with serving("service:Gateway", env=env) as server:
        caller = Caller(server)
        response = server.request(
            "PUT",
            "/v1/models/tabular/traffic",
            json={"weights": dict(plan.weights), "shadow": "c"},
            headers=ADMIN,
            timeout=60,
        )
        assert response.status_code == 200, response.text
        assert all(version["loaded"] for version in response.json()["versions"])
        assert caller.session_versions() == expected
        assert len(Counter(expected.values())) == 2
        assert caller.version(X_Model_Version="c") == "c"
        labels = '{model="tabular",version="c"}'
        compared = f"makunouchi_shadow_agreement_count{labels}"
        wait_for(lambda: caller.metrics().get(compared) == SESSIONS, "every prediction is compared")
        # Version c agrees with b, which has the same class names, and never with the first version.
        assert caller.metrics()[f"makunouchi_shadow_agreement_sum{labels}"] == Counter(expected.values())["b"]
        # A reload changes the default version, not the weights.
        assert reload(server, "tabular", "c").status_code == 200
        assert caller.session_versions() == expected

        with server.held():
            server.worker("TabularRunner").kill()
            wait_for(lambda: not server.is_ready(), "the loss of the runner is detected")
        server.wait_ready()
        assert caller.session_versions() == expected
        server.stop()

    with serving("service:Gateway", env=env) as server:
        caller = Caller(server)
        assert caller.session_versions() == expected
        assert server.request("DELETE", "/v1/models/tabular/traffic", headers=ADMIN).status_code == 200
        assert set(caller.session_versions().values()) == {"c"}
