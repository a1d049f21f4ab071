"""Configuration of all tests: no usage tracking, reproducible examples, trained models, groups of parallel runs."""

from __future__ import annotations

import gc
import os
import re
import weakref
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from models import watch
from tests import training_progress
from tests.training_progress import TRAINED

os.environ["BENTOML_DO_NOT_TRACK"] = "True"

# A test's result depends on the code only, not on the machine's speed or on random examples.
# `--hypothesis-profile=search` generates new examples.
_NO_TIME_LIMIT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", _NO_TIME_LIMIT)
settings.register_profile("steady", _NO_TIME_LIMIT, derandomize=True)
settings.load_profile("steady")

pytest_plugins = [
    "tests.fixtures_image",
    "tests.fixtures_tabular",
    "tests.fixtures_recommender",
    # It imports the others.
    "tests.fixtures_default",
    "tests.fixtures_several",
    "serving.testing.plugin",
]
# The groups of live tests: of the default models, of the small services of tests/live/projects, and of tests/deploy.
_LIVE = ("live models", "live projects", "live deploy")
# A file all of whose tests have these markers.
_MARKED_FILE = re.compile(r"^pytestmark = (?:\[\n? *)?pytest\.mark\.(slow|live|container)\b", re.MULTILINE)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(training_progress)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out a file whose tests `-m` deselects anyway by its marker: its imports can take seconds."""
    if not collection_path.name.startswith("test_"):
        return None
    marker = _MARKED_FILE.search(collection_path.read_text())
    return True if marker and f"not {marker[1]}" in config.getoption("markexpr") else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by the fixtures that they use, and group them for `pytest -n 3 --dist loadgroup`.

    The live tests are three groups and start first: each runs in one process. Tests of the shared `service` come last
    in their group, so that it does not run while other servers do. Every other file is a group, so that its module
    fixtures are set up once. Files with slow tests start before the others.
    """
    for item in items:
        fixtures = _fixtures(item)
        if _is_shared(item) or "bento" in fixtures:
            item.add_marker("live")
        if fixtures & TRAINED:
            item.add_marker("slow")
    if hasattr(config, "workerinput"):
        slow = {_file(item) for item in items if item.get_closest_marker("slow")}
        order = {group: place for place, group in enumerate(_LIVE)}
        for item in items:
            item.add_marker(pytest.mark.xdist_group(_group(item)))
        items.sort(key=lambda item: (order.get(_group(item), len(order)), _is_shared(item), _file(item) not in slow))


def pytest_collection_finish() -> None:
    """Exclude the collected tests and modules from garbage collections: they stay until the end."""
    gc.freeze()


def _fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))


def _group(item: pytest.Item) -> str:
    if not item.get_closest_marker("live"):
        return _file(item)
    models, projects, deploy = _LIVE
    if _file(item).startswith("tests/deploy/"):
        return deploy
    return models if _fixtures(item) & TRAINED else projects


def _is_shared(item: pytest.Item) -> bool:
    """Return whether the test uses the shared `service`, and not a fixture of the same name in its own file."""
    return {"service", "default_home"} <= _fixtures(item)


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
