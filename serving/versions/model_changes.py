"""Changes of the models of a service while it runs, as the routes see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from serving.settings.model_list import ModelEntry

ModelStatus = Literal["ready", "unavailable", "failed"]


@dataclass(frozen=True, slots=True)
class ServedEntry:
    """One model of the service. `reason` is why it is not ready, and `runner` the runner that holds it, or empty.

    `failed`: it cannot be loaded. `unavailable`: its runner does not answer at the moment, or has not started yet.
    """

    entry: ModelEntry
    kind: str
    status: ModelStatus
    version: str
    reason: str
    runner: str
    # The name of its handle in `/readyz` and in metrics.
    handle_name: str


class ModelChanges(Protocol):
    """The models of the service, and their changes."""

    def entries(self) -> Sequence[ServedEntry]:
        """Return every model of the service, those that could not be loaded too."""
        ...

    async def put(self, entry: ModelEntry) -> tuple[ServedEntry, bool]:
        """Add a model, or change the one of this name; return it and whether it is new.

        It is loaded and must answer its example before it is visible. Raises NotKnown for an unknown artifact or kind,
        InvalidInput for an entry that is not valid, ModelRefused for a model that cannot be loaded, and
        RunnerUnavailable; nothing has changed then.
        """
        ...

    async def load(self, name: str) -> ServedEntry:
        """Serve the model `name`: the configured one, or the artifact of this name. Raises as `put`."""
        ...

    async def remove(self, name: str) -> None:
        """Serve a model no longer. Raises NotKnown."""
        ...

    def missing(self, name: str) -> Exception:
        """Return the error of a request to a model that is not served: NotKnown, or ModelFailed."""
        ...

    def known(self) -> Sequence[str]:
        """Return the names of the models of the store that can be loaded. Reads the disk."""
        ...

    def start(self) -> None:
        """Start to follow the desired models. Call it inside the event loop."""
        ...

    async def stop(self) -> None:
        """Follow the desired models no longer."""
        ...
