"""Configuration of all tests: no usage tracking, reproducible examples, trained models, groups of parallel runs."""

from __future__ import annotations

import os
import weakref

import pytest
from hypothesis import HealthCheck, settings

from models import watch

os.environ["BENTOML_DO_NOT_TRACK"] = "True"

# A test's result depends on the code only, not on the machine's speed or on random examples.
# `--hypothesis-profile=search` generates new examples.
_NO_TIME_LIMIT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", _NO_TIME_LIMIT)
settings.register_profile("steady", _NO_TIME_LIMIT, derandomize=True)
settings.load_profile("steady")

pytest_plugins = [
    "tests.fixtures_default",
    "tests.fixtures_image",
    "tests.fixtures_tabular",
    "tests.fixtures_recommender",
]
# Fixtures that start server processes, and fixtures that train a model unless the cache has it.
_SERVERS = {"service", "bento"}
_TRAINED = {"default_home", "image_store", "tabular_store", "recommender_store"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by the fixtures that they use, and group them for `pytest -n 2 --dist loadgroup`.

    The live tests are one group and start first, so that servers do not compete with each other. Every other file
    is a group, so that its module fixtures are set up once. Files with slow tests start before the others.
    """
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if fixtures & _SERVERS:
            item.add_marker("live")
        if fixtures & _TRAINED:
            item.add_marker("slow")
    if hasattr(config, "workerinput"):
        slow = {_file(item) for item in items if item.get_closest_marker("slow")}
        for item in items:
            item.add_marker(pytest.mark.xdist_group(_group(item)))
        items.sort(key=lambda item: (_group(item) != "live", _file(item) not in slow))


def _group(item: pytest.Item) -> str:
    return "live" if item.get_closest_marker("live") else _file(item)


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Return the argument's name as the id of binary values.

    The default id contains the bytes. Generated archives contain times, so that two workers would collect tests with
    different names.
    """
    return argname if isinstance(val, bytes) and (len(val) > 30 or not val.isascii()) else None


@pytest.fixture(autouse=True)
def _no_failing_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what one test made unreadable out of the health that another test reads."""
    monkeypatch.setattr(watch, "_failing", weakref.WeakSet())
    monkeypatch.setattr(watch, "_listeners", [])
