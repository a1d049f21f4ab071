"""What a gateway unloads from runners, and changes that another gateway has made."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from models.errors import NotKnown
from serving.bento import model_directory
from serving.bento.model_directory import UNLOAD_S, ModelDirectory
from tests.serving.event_loop import in_loop


class Runner:
    """A runner that has the model `a`, which a gateway needs or not."""

    def __init__(self) -> None:
        self.placed = self
        self.models: list[Any] = []
        self.unloaded: list[str] = []

    def loaded(self) -> set[str]:
        return {"a"}

    async def unload(self, name: str, *, timeout_s: float) -> None:
        self.unloaded.append(name)


def test_a_model_that_was_needed_again_is_kept_for_the_whole_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(model_directory, "time", SimpleNamespace(monotonic=lambda: clock.now))

    @in_loop
    async def run() -> None:
        runner = Runner()
        models: Any = SimpleNamespace(runners=[runner], watched=list, refresh=None, source_watch_s=0.0)
        directory = ModelDirectory(models, SimpleNamespace(), SimpleNamespace())  # type: ignore[arg-type]

        async def look(after_s: float, *, is_needed: bool = False) -> list[str]:
            clock.now += after_s
            runner.models = [SimpleNamespace(model="a")] if is_needed else []
            await directory._unload_unneeded()
            await directory._tasks.run(_nothing())
            return runner.unloaded

        assert await look(0) == []
        assert await look(UNLOAD_S / 2, is_needed=True) == []
        assert await look(UNLOAD_S) == []
        assert await look(UNLOAD_S - 1) == []
        assert await look(1) == ["a"]
        # It is tried again after the interval, not in every pass.
        assert await look(1) == ["a"]
        assert await look(UNLOAD_S) == ["a", "a"]

    run()


def test_a_change_of_another_gateway_counts_before_it_is_followed() -> None:
    """The state has no model, and this gateway still serves `a`: it is not removed, or loaded, as if it were there."""

    @in_loop
    async def run() -> None:
        withdrawn: list[str] = []
        served = {"a": SimpleNamespace(entry=None)}

        def remove(name: str) -> None:
            withdrawn.append(name)
            served.pop(name, None)

        models: Any = SimpleNamespace(
            by_name=served, failed={}, configured=(), desired=list, remove=remove, deployed=[],
            handlers=SimpleNamespace(replace=lambda handlers: None), current_handlers=dict,
            watched=list, refresh=None, source_watch_s=0.0,
        )  # fmt: skip
        reconciler: Any = SimpleNamespace(replace=lambda deployed: None)
        directory = ModelDirectory(models, SimpleNamespace(), reconciler)  # type: ignore[arg-type]
        with pytest.raises(NotKnown, match="no model 'a' in the store"):
            await directory.load("a")
        with pytest.raises(NotKnown, match="no model 'a' is served; served: none"):
            await directory.remove("a")
        assert withdrawn == ["a"]

    run()


async def _nothing() -> None:
    pass
