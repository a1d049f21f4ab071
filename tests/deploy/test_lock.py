"""The locks of the images: complete for each Python, with hashes, at the versions that the tests run with."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.lock import BUILD_LOCK, DEVELOPMENT_LOCK, GPU_LOCK, ROOT, SERVING_LOCK, Pin, read_lock

PYTHONS = ("3.11", "3.12", "3.13")
HASHED = (BUILD_LOCK, SERVING_LOCK, GPU_LOCK)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def uv(*arguments: str) -> str:
    """Run uv on the package index and return what it printed. Fails the test with uv's reason."""
    command = [str(Path(sys.executable).with_name("uv")), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", HASHED, ids=lambda path: path.name)
def test_a_lock_installs_on_each_python_from_wheels_alone(lock: Path, python: str, tmp_path: Path) -> None:
    """With hashes required, uv accepts no package outside the lock and no file with another hash."""
    uv(
        "pip", "install", "--dry-run", "--target", str(tmp_path), "--python-version", python, "--require-hashes",
        "--only-binary", ":all:", "--requirement", str(lock),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS)
def test_the_development_environment_resolves_on_each_python_to_the_locked_versions(python: str) -> None:
    resolved = uv(
        "pip", "compile", "--python-version", python, "--extra", "train", "--extra", "dev", "--extra", "scale",
        "--constraint", str(DEVELOPMENT_LOCK), "--no-annotate", "--no-header", "pyproject.toml",
    )  # fmt: skip
    locked = {(pin.name, pin.version) for pin in read_lock(DEVELOPMENT_LOCK)}
    pins = {tuple(line.partition(" ;")[0].split("==")) for line in resolved.splitlines()}
    assert pins
    assert pins <= locked


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        (SERVING_LOCK, PROJECT["dependencies"]),
        (GPU_LOCK, [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["gpu"]]),
        (DEVELOPMENT_LOCK, [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else "",
)
def test_a_lock_has_every_direct_dependency_within_its_bounds(lock: Path, requirements: list[str]) -> None:
    versions = {pin.name: pin.version for pin in read_lock(lock)}
    for requirement in map(Requirement, requirements):
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


def test_the_serving_lock_has_no_training_package() -> None:
    locked = {pin.name for pin in read_lock(SERVING_LOCK)}
    assert not {"torch", "torchvision", "lightfm-next", "lightgbm", "scikit-learn", "pandas", "nncf"} & locked


def test_the_gpu_lock_adds_torch_to_the_serving_lock() -> None:
    gpu = {pin.name: pin for pin in read_lock(GPU_LOCK)}
    for pin in read_lock(SERVING_LOCK):
        assert (gpu[pin.name].version, gpu[pin.name].hashes) == (pin.version, pin.hashes)
    assert {"torch", "torchvision", "triton"} <= set(gpu)


@pytest.mark.parametrize("lock", HASHED, ids=lambda path: path.name)
def test_versions_are_those_that_are_tested(lock: Path) -> None:
    tested = {pin.name: pin.version for pin in read_lock(DEVELOPMENT_LOCK)}
    locked = {pin.name: pin.version for pin in read_lock(lock)}
    assert locked.items() <= tested.items()


@pytest.mark.parametrize("lock", [DEVELOPMENT_LOCK, *HASHED], ids=lambda path: path.name)
def test_a_lock_names_no_address_and_no_build_of_one_machine(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "--index" not in text
    assert not [pin for pin in read_lock(lock) if "+" in pin.version]


@pytest.mark.parametrize("lock", HASHED, ids=lambda path: path.name)
def test_every_package_of_an_image_has_hashes(lock: Path) -> None:
    for pin in read_lock(lock):
        assert pin.hashes, pin.name
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in pin.hashes)


def test_markers_and_hashes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    first, second = "0" * 64, "f" * 64
    path.write_text(
        "# Comment\n"
        f"A_b==1.0 ; python_full_version < '3.11.3' \\\n    --hash=sha256:{first} \\\n    --hash=sha256:{second}\n"
        "c==2.0rc1\n"
    )
    old, always = read_lock(path)
    assert (old.name, old.version, old.hashes) == ("a-b", "1.0", (first, second))
    assert old.applies_to("3.11.2")
    assert not old.applies_to("3.13.0")
    assert old.line() == f"a-b==1.0 --hash=sha256:{first} --hash=sha256:{second}"
    assert always == Pin("c", "2.0rc1")
    assert always.applies_to("3.13.0")


@pytest.mark.parametrize("line", ["a>=1", "a", "a==1,<2"])
def test_a_line_without_an_exact_version_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "x.lock"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match="has no exact version; run: make lock"):
        read_lock(path)
