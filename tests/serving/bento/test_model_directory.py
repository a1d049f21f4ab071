"""What a gateway unloads from runners: models that no gateway has needed for the whole interval."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

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


async def _nothing() -> None:
    pass
