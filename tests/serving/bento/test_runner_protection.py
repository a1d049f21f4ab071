"""A runner that is served by itself, and not by its gateway, does not start in production without a token."""

from __future__ import annotations

import os
from typing import Any

import bentoml
import pytest

from serving.bento import runner
from serving.bento.runner import RunnerService
from serving.kinds.registry import ServiceSettings
from serving.process.parent_watchdog import PARENT


def service(**settings: Any) -> Any:
    class Runner:
        pass

    made = RunnerService.using(ServiceSettings(environment="production", **settings))
    return bentoml.service(metrics={"enabled": False}, service_class=made)(Runner)


def hooks(made: Any) -> list[Any]:
    """Return the hooks that `bentoml serve` calls, in its order."""
    members = [getattr(made.inner, name) for name in dir(made.inner)]
    return [member for member in members if getattr(member, "__bentoml_deployment_hook__", False)]


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    monkeypatch.delenv(PARENT, raising=False)
    monkeypatch.setattr(runner, "prepare_parent", lambda settings, bounds: calls.append("parent"))
    monkeypatch.setattr(runner, "prepare_process", lambda *, grace_s: calls.append("process"))
    return calls


def test_it_ends_before_its_processes_start(prepared: list[str]) -> None:
    (hook,) = hooks(service())
    with pytest.raises(SystemExit, match="error: setting MAKUNOUCHI_RUNNER_TOKEN: production requires it"):
        hook()
    with pytest.raises(SystemExit, match="MAKUNOUCHI_RUNNER_TOKEN"):
        service().to_asgi(is_main=True)
    assert "parent" not in prepared


def test_with_a_token_or_a_gateway_it_starts(prepared: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (hook,) = hooks(service(runner_token="x" * 32))
    hook()
    # The hook of the gateway has named this process the parent.
    monkeypatch.setenv(PARENT, str(os.getpid()))
    (hook,) = hooks(service())
    hook()
    assert prepared == ["parent", "parent"]
