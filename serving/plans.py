"""Plans of the traffic as they are kept beside the store, so that they outlive runners, gateways and restarts.

One small file per model, written whole or not at all, read by every gateway and runner of a host. Knows names and
numbers, no artifacts.
"""

from __future__ import annotations

import logging
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import orjson

from serving.plan import NO_PLAN, Plan

log = logging.getLogger("makunouchi.traffic")


@dataclass(frozen=True, slots=True)
class KeptPlan:
    """A plan, and a `serial` that differs between any two writings."""

    plan: Plan
    serial: str


class Plans:
    """The plans of one host, in `folder`, which is made when the first is written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> KeptPlan:
        """The plan of the model `name`; none when none was written, or what was cannot be read."""
        try:
            said = orjson.loads(self._file(name).read_bytes())
            weights = {str(version): float(weight) for version, weight in said["weights"].items()}
            shadow = None if said["shadow"] is None else str(said["shadow"])
            return KeptPlan(Plan(weights, shadow), str(said["serial"]))
        except FileNotFoundError:
            return KeptPlan(NO_PLAN, "")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.error("the traffic of %s cannot be read: %s", name, error)
            return KeptPlan(NO_PLAN, "")

    def write(self, name: str, plan: Plan) -> KeptPlan | None:
        """Keep `plan`. None where this host lets nobody write: then it lasts as long as this gateway."""
        kept = KeptPlan(plan, secrets.token_hex(8))
        file = self._file(name)
        beside = file.with_suffix(f".{kept.serial}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            said = {"weights": dict(plan.weights), "shadow": plan.shadow, "serial": kept.serial}
            beside.write_bytes(orjson.dumps(said))
            os.replace(beside, file)
        except OSError as error:
            log.warning("the traffic of %s will be forgotten at the next start: %s", name, error)
            return None
        return kept

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"
