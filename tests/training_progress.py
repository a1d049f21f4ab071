"""A plugin of pytest that shows the progress of fixtures that train a model, which takes minutes.

It is no part of conftest.py, whose hooks are not called for fixtures of the whole session.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

# Fixtures that train a model unless the cache has it.
TRAINED = {"default_home", "several_home", "image_store", "tabular_store", "recommender_store", "held_out"}


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest) -> Iterator[None]:
    """Show what the fixture prints, instead of capturing it."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    is_shown = capture is not None and fixturedef.argname in TRAINED
    with capture.global_and_fixture_disabled() if is_shown else contextlib.nullcontext():
        return (yield)
