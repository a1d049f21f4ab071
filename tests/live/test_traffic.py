"""Several versions of a model answer side by side on the real service, also after their runner was killed."""

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
    """Asks the tabular model, as many sessions."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._row = tabular_example(server)

    def version(self, **headers: str) -> str:
        """The version that answers, when its answer is that of its card."""
        said = self.server.post(
            "/v1/tabular/predict",
            json={"instances": [self._row]},
            headers=ADMIN | {name.replace("_", "-"): value for name, value in headers.items()},
        )
        assert said.status_code == 200, said.text
        version = str(said.json()["model"]["version"])
        assert said.json()["predictions"][0]["prediction"].startswith(MARK) == (version in ("b", "c"))
        return version

    def shares(self) -> dict[str, str]:
        """The version that each session gets."""
        return {f"s{number}": self.version(X_Session_ID=f"s{number}") for number in range(SESSIONS)}

    def metrics(self) -> dict[str, float]:
        """The metrics of versions, by name and labels."""
        lines = self.server.get("/metrics", headers=ADMIN).text.splitlines()
        told = [line.rpartition(" ") for line in lines if line.startswith(("makunouchi_version", "makunouchi_shadow"))]
        return {name: float(value) for name, _, value in told}


def test_a_canary_and_a_shadow_live_through_a_killed_runner_and_a_restart(
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
        told = server.request(
            "PUT",
            "/v1/models/tabular/traffic",
            json={"weights": dict(plan.weights), "shadow": "c"},
            headers=ADMIN,
            timeout=60,
        )
        assert told.status_code == 200, told.text
        assert all(version["loaded"] for version in told.json()["versions"])
        assert caller.shares() == expected
        assert len(Counter(expected.values())) == 2
        assert caller.version(X_Model_Version="c") == "c"
        labels = '{model="tabular",version="c"}'
        compared = f"makunouchi_shadow_agreement_count{labels}"
        wait_for(lambda: caller.metrics().get(compared) == SESSIONS, "every answer is compared")
        # The same arithmetic under other names of its classes: those of b, and none of the first one's.
        assert caller.metrics()[f"makunouchi_shadow_agreement_sum{labels}"] == Counter(expected.values())["b"]
        # A reload moves the default, and the weights stay.
        assert reload(server, "tabular", "c").status_code == 200
        assert caller.shares() == expected

        with server.held():
            server.worker("TabularRunner").kill()
            wait_for(lambda: not server.is_ready(), "the runner is missed")
        server.wait_ready()
        assert caller.shares() == expected
        server.stop()

    with serving("service:Gateway", env=env) as server:
        caller = Caller(server)
        assert caller.shares() == expected
        assert server.request("DELETE", "/v1/models/tabular/traffic", headers=ADMIN).status_code == 200
        assert set(caller.shares().values()) == {"c"}
