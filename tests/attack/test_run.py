"""Tests of the judgement: each broken promise is reported, and a right run is not."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest

from serving.access.production_checks import setting_faults
from serving.kinds.registry import ServiceSettings
from serving.settings.loading import load_settings
from tests.attack.bystander import Bystander
from tests.attack.probe import Sample
from tests.attack.run import Result, judge, measure
from tests.attack.scenario import SCENARIOS, Attack, load_scenarios
from tests.attack.target import Target
from tests.live.server import ROOT


class Caller:
    """A bystander that saw `seen`."""

    def __init__(self, seen: dict[str, int]) -> None:
        self.seen = Counter(seen)

    def refusals(self) -> Counter[str]:
        return Bystander.refusals(cast("Bystander", self))


def attack(seen: dict[str, int] | None = None, **fields: Any) -> Attack:
    bystander = cast("Bystander", Caller(seen or {"table 200": 5, "job 202": 1}))
    return Attack(cast("Target", None), bystander, is_short=True, ends_s=time.monotonic() + 60, **fields)


def sample(took_s: float = 0.01, held_s: float = 0.0, **memory_mb: float) -> Sample:
    return Sample(time.monotonic(), took_s, held_s, 200, memory_mb)


def broken(ran: Attack, *samples: Sample) -> list[str]:
    result = Result("test", 1.0)
    measure(result, samples or [sample()])
    return judge(ran, result)


def test_the_service_accepts_the_settings_of_every_scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The short form in the tests does not start all of these servers.
    for name, scenario in load_scenarios().items():
        (folder := tmp_path / name).mkdir()
        target = Target(folder, root=ROOT, models=tmp_path, env=scenario.env)
        with monkeypatch.context() as patched:
            for setting, value in target.environment.items():
                patched.setenv(setting, value)
            load_settings(ServiceSettings, setting_faults)


def test_right_run_breaks_no_bar() -> None:
    ran = attack(held_s=0.05)
    ran.count(200)
    ran.count("202 succeeded")
    assert broken(ran, sample(0.3, 0.04, Gateway=200.0)) == []


@pytest.mark.parametrize("status", ["500", "hung 502"])
def test_server_error_is_reported(status: str) -> None:
    ran = attack()
    ran.count(status)
    assert len(broken(ran)) == 1


def test_refusal_of_others_is_reported_unless_processes_are_killed() -> None:
    seen = {"table 200": 5, "table 503": 1, "connection ReadError": 1}
    assert len(broken(attack(seen))) == 1
    assert broken(attack(seen, may_interrupt=True)) == []
    assert len(broken(attack({"table 500": 1}, may_interrupt=True))) == 1


def test_slow_probe_busy_gateway_and_memory_are_reported() -> None:
    assert len(broken(attack(), sample(1.5))) == 1
    assert broken(attack(slack=2.0), sample(1.5)) == []
    assert len(broken(attack(held_s=0.05), sample(0.2, 0.2))) == 1
    assert len(broken(attack(), sample(Gateway=3000.0, child=10.0))) == 1


def test_missing_samples_are_reported() -> None:
    result = Result("test", 1.0)
    measure(result, [])
    assert "no probe" in judge(attack(), result)[0]


def test_entries_that_were_not_sent_are_reported() -> None:
    ran = attack()
    assert [name for name, _ in ran.entries({"a": 1, "b": 2})] == ["a", "b"]
    ran.ends_s = time.monotonic() - 1
    assert list(ran.entries({"a": 1, "b": 2})) == []
    assert ran.broken == ["2 of 2 entries were not sent in time"]


def test_every_scenario_of_the_short_form_is_registered_once() -> None:
    load_scenarios()
    assert len([each for each in SCENARIOS.values() if each.in_short]) >= 15
    # The short form starts one server.
    assert {tuple(each.env.items()) for each in SCENARIOS.values() if each.in_short} == {()}
