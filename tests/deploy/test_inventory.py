"""The bill of materials: valid CycloneDX for what was listed."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.inventory import bill_of_materials
from deploy.lock import ROOT

MODEL = {"name": "image", "version": "v1", "task": "t", "algorithm": "a", "files": {"w.bin": [3, "ab" * 32]}}
DEBIAN = {"package": "libc6", "version": "2.36-9+deb12u14", "architecture": "amd64"}


def bill(**listed: Any) -> dict[str, Any]:
    whole = {"packages": [], "debian": [], "models": [], "system": "Debian", "python": "3.11.2", **listed}
    document: dict[str, Any] = json.loads(bill_of_materials(whole, image="localhost/x:v1", description="Bento x:v1"))
    return document


def test_each_kind_has_its_own_identifier() -> None:
    package = {"name": "Foo_Bar", "version": "1.0", "license": "MIT", "summary": "s", "requires": []}
    parts = {part["name"]: part for part in bill(packages=[package], debian=[DEBIAN], models=[MODEL])["components"]}
    assert parts["foo-bar"]["purl"] == "pkg:pypi/foo-bar@1.0"
    assert parts["foo-bar"]["licenses"] == [{"license": {"id": "MIT"}}]
    assert parts["libc6"]["purl"] == "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64"
    assert parts["image"]["type"] == "machine-learning-model"
    (file,) = parts["image"]["components"]
    assert file["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]


def test_what_a_package_requires_is_told() -> None:
    packages = [
        {"name": "a", "version": "1", "license": "", "summary": "", "requires": ["B>=2; python_version > '3'", "gone"]},
        {"name": "b", "version": "2", "license": "MIT OR Apache-2.0", "summary": "", "requires": []},
    ]
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in bill(packages=packages)["dependencies"]}
    assert needs["pypi/a@1"] == ["pypi/b@2"]
    assert sorted(needs["localhost/x:v1"]) == ["pypi/a@1", "pypi/b@2"]


def test_a_hash_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="not valid CycloneDX"):
        bill(models=[{**MODEL, "files": {"w.bin": [3, "no hash"]}}])


def test_the_listing_finds_what_is_installed_where_it_runs(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "image" / "v1"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps({"task": "t", "algorithm": "a"}))
    (folder / "manifest.json").write_text(json.dumps({"files": MODEL["files"]}))
    done = subprocess.run(
        [sys.executable, "-"], input=(ROOT / "deploy" / "listing.py").read_text(),
        env={**os.environ, "BENTO_PATH": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    listed = json.loads(done.stdout)
    assert listed["models"] == [MODEL]
    versions = {package["name"]: package["version"] for package in listed["packages"]}
    assert versions["bentoml"] == importlib.metadata.version("bentoml")
    assert bill(**listed)["components"]
