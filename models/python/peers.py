"""The other models of the service, for a class that names them in `uses`: `self.models["churn"].predict(rows)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Asks a model, by its name, to predict rows, and returns one prediction per row.
Ask = Callable[[str, Sequence[Any]], list[Any]]  # Any: what the model takes and returns, as JSON


@dataclass(frozen=True, slots=True)
class Peer:
    """Another model of the service."""

    name: str
    ask: Ask

    def predict(self, rows: Sequence[Any]) -> list[Any]:  # Any: what the model takes and returns, as JSON
        """Return one prediction per row, before the deadline of the request that is answered.

        Raises PredictionFailed when the model refuses a row or fails, and RunnerUnavailable, Overloaded and
        DeadlineExceeded, which become the response to the request unless they are handled.
        """
        return self.ask(self.name, rows)


class Peers(Mapping[str, Peer]):
    """The models that a class uses, by name."""

    def __init__(self, names: Sequence[str], ask: Ask) -> None:
        self._peers = {name: Peer(name, ask) for name in names}

    def __getitem__(self, name: str) -> Peer:
        if name not in self._peers:
            raise KeyError(f"'{name}' is not in `uses` of the class: {', '.join(self._peers) or 'empty'}")
        return self._peers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._peers)

    def __len__(self) -> int:
        return len(self._peers)
