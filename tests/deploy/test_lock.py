"""The locks of the images: complete, with hashes, at the versions that everything was tested with."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.lock import (
    BUILD_LOCK,
    GPU_LOCK,
    OLDEST_PYTHON,
    ROOT,
    SERVING_LOCK,
    Pin,
    read_lock,
    serving_requirements,
    write_lock,
)

_LOCKS = (BUILD_LOCK, SERVING_LOCK, GPU_LOCK)


def closure(requirements: list[str]) -> set[str]:
    """Every package that `requirements` need on the oldest Python, by what the installed packages say of themselves."""
    found: set[str] = set()
    asked = [Requirement(line) for line in requirements]
    while asked:
        requirement = asked.pop()
        name = canonicalize_name(requirement.name)
        extras = requirement.extras or {""}
        if name in found:
            continue
        found.add(name)
        try:
            lines = importlib.metadata.requires(requirement.name) or []
        except importlib.metadata.PackageNotFoundError:
            # Asked for by an older Python than this one.
            continue
        for line in lines:
            needed = Requirement(line)
            oldest = {"python_full_version": OLDEST_PYTHON}
            if needed.marker is None or any(needed.marker.evaluate({**oldest, "extra": extra}) for extra in extras):
                asked.append(needed)
    return found


def test_the_serving_lock_is_the_closure_of_the_serving_dependencies() -> None:
    assert {canonicalize_name(pin.name) for pin in read_lock(SERVING_LOCK)} == closure(serving_requirements())


def test_the_gpu_lock_adds_torch_to_the_serving_lock() -> None:
    gpu = {pin.name: pin for pin in read_lock(GPU_LOCK)}
    for pin in read_lock(SERVING_LOCK):
        assert gpu[pin.name] == pin
    assert {"torch", "torchvision", "triton"} <= set(gpu)


@pytest.mark.parametrize("lock", [SERVING_LOCK, GPU_LOCK])
def test_versions_are_those_that_are_tested(lock: Path) -> None:
    tested = dict(
        line.split("==") for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")
    )
    versions: dict[str, str] = {canonicalize_name(name): version for name, version in tested.items()}
    locked = {pin.name: pin.version for pin in read_lock(lock)}
    assert {name: locked[name] for name in locked.keys() & versions.keys()} == {
        name: versions[name] for name in locked.keys() & versions.keys()
    }


@pytest.mark.parametrize("lock", _LOCKS)
def test_a_lock_names_no_address_and_no_build_of_one_machine(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "--index" not in text
    assert not [pin for pin in read_lock(lock) if "+" in pin.version]


def test_a_lock_reads_back_as_it_was_written(tmp_path: Path) -> None:
    pins = [Pin("a", "1.0", "0" * 64), Pin("b-c", "2.0rc1", "f" * 64)]
    write_lock(tmp_path / "x.lock", pins, what="Two packages")
    assert read_lock(tmp_path / "x.lock") == pins


@pytest.mark.parametrize("line", ["a>=1 \\\n    --hash=sha256:" + "0" * 64, "a==1 \\\n    --hash=md5:0", "a==1\nb==2"])
def test_a_line_without_an_exact_version_and_hash_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "x.lock"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match="not a pinned requirement"):
        read_lock(path)
