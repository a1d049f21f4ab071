"""The bill of materials: valid CycloneDX for the metadata of an image."""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from deploy.inventory import bill_of_materials
from deploy.lock import ROOT

pytestmark = pytest.mark.slow

STATUS = """\
Package: {name}
Status: {status}
Architecture: amd64
Version: {version}
Maintainer: A Maintainer <someone@example.org>
Description: a package
"""
# debsbom reads the system's architecture from the entry of dpkg.
PACKAGES = [
    {"name": "dpkg", "status": "install ok installed", "version": "1.22.21"},
    {"name": "libc6", "status": "install ok installed", "version": "2.41-12"},
    {"name": "removed", "status": "deinstall ok config-files", "version": "1"},
]


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    """An extracted archive: two Debian packages, and the configuration of a removed one."""
    status = tmp_path / "system" / "var" / "lib" / "dpkg" / "status"
    status.parent.mkdir(parents=True)
    status.write_text("\n".join(STATUS.format(**package) for package in PACKAGES))
    return tmp_path


def add_package(metadata: Path, name: str, version: str, *fields: str) -> None:
    folder = metadata / "python" / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    text = "\n".join(("Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *fields, ""))
    (folder / "METADATA").write_text(text)


def add_model(metadata: Path, sha256: str) -> None:
    folder = metadata / "models" / "image" / "v1"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text(json.dumps({"task": "t", "algorithm": "a"}))
    (folder / "manifest.json").write_text(json.dumps({"files": {"w.bin": [3, sha256]}}))


def bill(metadata: Path) -> dict[str, Any]:
    text = bill_of_materials(metadata, image="localhost/x:v1", description="Bento x:v1")
    document: dict[str, Any] = json.loads(text)
    return document


def test_each_kind_has_its_identifier(metadata: Path) -> None:
    add_package(metadata, "Foo_Bar", "1.0", "License-Expression: MIT")
    add_model(metadata, "ab" * 32)
    document = bill(metadata)
    # debsbom lists the source packages too.
    listed = [part for part in document["components"] if "arch=source" not in part.get("purl", "")]
    parts = {part["name"].lower(): part for part in listed}
    assert set(parts) == {"foo_bar", "dpkg", "libc6", "image"}
    assert parts["foo_bar"]["purl"] == "pkg:pypi/foo-bar@1.0"
    assert parts["foo_bar"]["licenses"][0]["license"]["id"] == "MIT"
    assert parts["libc6"]["purl"] == "pkg:deb/debian/libc6@2.41-12?arch=amd64"
    assert parts["image"]["type"] == "machine-learning-model"
    (file,) = parts["image"]["components"]
    assert file["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert document["metadata"]["component"]["type"] == "container"
    assert {"cyclonedx-py", "debsbom"} <= {tool["name"] for tool in document["metadata"]["tools"]["components"]}


def test_dependencies_of_packages_are_listed(metadata: Path) -> None:
    add_package(metadata, "a", "1", "Requires-Dist: B>=2; python_version > '3'", "Requires-Dist: absent")
    add_package(metadata, "b", "2", "License-Expression: MIT OR Apache-2.0")
    document = bill(metadata)
    references = {part["name"]: part["bom-ref"] for part in document["components"]}
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in document["dependencies"]}
    assert needs[references["a"]] == [references["b"]]
    assert set(needs["localhost/x:v1"]) == {part["bom-ref"] for part in document["components"]}


def test_an_invalid_hash_is_refused(metadata: Path) -> None:
    add_model(metadata, "no hash")
    with pytest.raises(ValueError, match="not valid CycloneDX"):
        bill(metadata)


def test_the_archive_has_the_metadata_of_what_is_installed_where_it_is_written(tmp_path: Path) -> None:
    add_model(tmp_path, "ab" * 32)
    done = subprocess.run(
        [sys.executable, "-"], input=(ROOT / "deploy" / "metadata_archive.py").read_bytes(),
        env={**os.environ, "BENTO_PATH": str(tmp_path)}, capture_output=True, check=True,
    )  # fmt: skip
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        names = set(archive.getnames())
    assert {"models/image/v1/card.json", "models/image/v1/manifest.json"} <= names
    assert f"python/bentoml-{importlib.metadata.version('bentoml')}.dist-info/METADATA" in names
    assert ("system/var/lib/dpkg/status" in names) == Path("/var/lib/dpkg/status").is_file()
