"""Which version an administrator asked for, kept beside the store: a rollback outlives a runner, and a restart.

One small file per model, written whole or not at all, read by every gateway and runner of a host. Knows names and
versions, no artifacts.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson

from models.errors import ArtifactError
from serving.runners.host.loaded_versions import StartVersions
from serving.settings.settings import state_folder
from serving.versions.traffic_split import NO_SPLIT, TrafficSplit

log = logging.getLogger("makunouchi.pins")


@dataclass(frozen=True, slots=True)
class Pin:
    """`version` was asked for, or the configured one where it is None. `serial` differs between any two askings.

    `configured` is the tag that was configured then: with another one the pin is of the past.
    """

    version: str | None
    configured: str
    serial: str


class Pins:
    """The pins of one host, in `folder`, which is made when the first is written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> Pin | None:
        """What was last asked for the model `name`; None when nothing was, or what was written cannot be read."""
        try:
            said = orjson.loads(self._file(name).read_bytes())
            version = said["version"]
            return Pin(None if version is None else str(version), str(said["configured"]), str(said["serial"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.error("the pin of %s cannot be read: %s", name, error)
            return None

    def write(self, name: str, version: str | None, *, configured: str) -> Pin | None:
        """Keep what was asked. None where this host lets nobody write: then it lasts as long as the runner."""
        pin = Pin(version, configured, secrets.token_hex(8))
        file = self._file(name)
        beside = file.with_suffix(f".{pin.serial}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(orjson.dumps({"version": version, "configured": configured, "serial": pin.serial}))
            os.replace(beside, file)
        except OSError as error:
            log.warning("version %s of %s will be forgotten at the next start: %s", version, name, error)
            return None
        return pin

    def version(self, tag: str, find: Callable[[str], object]) -> str | None:
        """The version to start the model `tag` with, or None for the configured one.

        `find` raises ArtifactError for a version that is not usable any more.
        """
        name, _, _ = tag.partition(":")
        pin = self.read(name)
        if pin is None or pin.version is None or pin.configured != tag:
            return None
        try:
            find(pin.version)
        except ArtifactError as error:
            log.error("%s starts with the configured version, as the pinned one is not usable: %s", name, error)
            return None
        log.warning("%s starts with version %s, as it was reloaded with that; reload without one ends it", name,
                    pin.version)  # fmt: skip
        return pin.version

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"


log = logging.getLogger("makunouchi.traffic")


class DeploymentState:
    """`pins` and `plans`, in the folder of a setting, or beside the model store when it is empty."""

    def __init__(self, setting: str) -> None:
        folder = state_folder(setting)
        self.pins = Pins(folder / "pins")
        self.plans = Plans(folder / "traffic")

    def start(self, tag: str, find: Callable[[str], object]) -> StartVersions:
        """What a runner of the model `tag` starts with. `find` raises ArtifactError for what is not usable."""
        beside = []
        for version in self.plans.read(tag.partition(":")[0]).plan.versions:
            try:
                find(version)
            except ArtifactError as error:
                log.error("version %s of %s is not held: %s", version, tag, error)
            else:
                beside.append(version)
        return StartVersions(self.pins.version(tag, find), tuple(beside))


log = logging.getLogger("makunouchi.traffic")


@dataclass(frozen=True, slots=True)
class KeptPlan:
    """A plan, and a `serial` that differs between any two writings."""

    plan: TrafficSplit
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
            return KeptPlan(TrafficSplit(weights, shadow), str(said["serial"]))
        except FileNotFoundError:
            return KeptPlan(NO_SPLIT, "")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.error("the traffic of %s cannot be read: %s", name, error)
            return KeptPlan(NO_SPLIT, "")

    def write(self, name: str, plan: TrafficSplit) -> KeptPlan | None:
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
