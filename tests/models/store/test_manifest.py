"""What a manifest may not say."""

from __future__ import annotations

import json

import pytest

from models.errors import ArtifactInvalid
from models.store.manifest import Manifest, parse_manifest

HASH = "0" * 64


def read(files: object) -> Manifest:
    return parse_manifest(files if isinstance(files, bytes) else json.dumps({"files": files}).encode())


def entries(*files: str) -> dict[str, list[object]]:
    return {file: [1, HASH] for file in ("card.json", *files)}


def test_a_manifest_as_training_writes_it() -> None:
    manifest = read(entries("network.xml", "network.bin", "vectors/items.npy", "report.md"))
    assert manifest.total_bytes == 5
    assert manifest.version == manifest.digest[:16]


@pytest.mark.parametrize(
    "file",
    [
        "../card.json", "a/../../b.json", "/etc/x.json", "a//b.json", "./a.json", "a/./b.json", "", "a/", "C:\\x.json",
        "a\\b.json", "~/.x.json", "a\0b.json", "a\nb.json", ".hidden.json", "a/.hidden.json", "b\u202ex.json",
        "manifest.json", "MANIFEST.json", "model.yaml", "x" * 300 + ".json", "a/" * 300 + "b.json", "a./b.json",
    ],
)  # fmt: skip
def test_a_name_that_may_lead_elsewhere_is_refused(file: str) -> None:
    with pytest.raises(ArtifactInvalid, match="is not a name that a file of an artifact may have"):
        read(entries(file))


@pytest.mark.parametrize(
    "file", ["model.pkl", "model.joblib", "model.pt", "model.pth", "model.bin", "run.py", "lib.so", "x", "model.PICKLE"]
)
def test_a_format_that_may_run_code_is_refused(file: str) -> None:
    with pytest.raises(ArtifactInvalid, match=rf"file '{file}' has a format that artifacts may not have; accepted: "):
        read(entries(file))


@pytest.mark.parametrize("files", [("a.json", "A.json"), ("a.json", "a.json/b.json"), ("x/y.json", "X")])
def test_paths_that_are_the_same_are_refused(files: tuple[str, ...]) -> None:
    with pytest.raises(ArtifactInvalid, match="two of its files have the same path"):
        read(entries(*files))


@pytest.mark.parametrize(
    "files",
    [
        b"", b"[]", b"{}", b'{"files": 1}', b'{"files": {"card.json": 1}}', b"\xff", b'{"files": ' + b"[" * 100_000,
        {"card.json": [-1, HASH]}, {"card.json": [1.5, HASH]}, {"card.json": [True, HASH]}, {"card.json": ["1", HASH]},
        {"card.json": [1]},
    ],
)  # fmt: skip
def test_a_malformed_manifest_is_refused(files: object) -> None:
    with pytest.raises(ArtifactInvalid, match=r"its manifest\.json is not valid"):
        read(files)


@pytest.mark.parametrize("sha256", ["", "0" * 63, "G" * 64, None])
def test_a_file_without_a_hash_is_refused(sha256: object) -> None:
    with pytest.raises(ArtifactInvalid, match=r"its manifest\.json has no SHA-256 of 'card\.json'"):
        read({"card.json": [1, sha256]})


def test_an_artifact_without_a_card_is_refused() -> None:
    with pytest.raises(ArtifactInvalid, match=r"it has no card\.json"):
        read({"a.json": [1, HASH]})


def test_the_number_of_files_is_bounded() -> None:
    with pytest.raises(ArtifactInvalid, match=r"it has 10001 files; the maximum is 10000"):
        read(entries(*(f"{number}.json" for number in range(10_000))))
