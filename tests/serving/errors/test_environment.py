"""Errors of the environment (no files, disk space or memory, no access) are 503, and their text stays in the log."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from models.card import write_card
from models.errors import StoreUnavailable, is_exhausted
from models.store import artifacts
from models.store.manifest import write_manifest
from serving.errors.mapping import problem_type_of
from serving.runners.interface import ModelRef, RunnerStatus
from serving.versions.catalog import StoreCatalog
from tests.serving.in_process_service import ROW, TABLE_CARD, Catalog, LocalService, png

FOLDER = "/srv/secret/store"
LACKING = ("EACCES", "EDQUOT", "EIO", "EMFILE", "ENFILE", "ENOMEM", "ENOSPC", "EPERM", "EROFS", "ESTALE")


def lack(name: str) -> OSError:
    number = getattr(errno, name)
    return OSError(number, os.strerror(number), FOLDER)


@pytest.mark.parametrize("name", LACKING)
def test_what_the_environment_lacks_is_503(
    local_service: LocalService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    def fail(*args: object) -> None:
        raise lack(name)

    monkeypatch.setattr(Catalog, "entries", fail)
    monkeypatch.setattr(local_service.image_handler, "classify", fail)
    with caplog.at_level(logging.WARNING, logger="makunouchi.errors"):
        for response in (local_service.get("/v1/models"), local_service.post_image(png())):
            assert response.status_code == 503
            assert response.json()["type"] == "/problems/resources-unavailable"
            assert response.headers["retry-after"] == "5"
            assert "secret" not in response.text
            assert os.strerror(getattr(errno, name)) not in response.text
    for record in caplog.records:
        assert record.getMessage().startswith("resources-unavailable [request_id=")
        assert name in record.getMessage()
        assert "secret" not in record.getMessage()


def test_other_errors_of_the_operating_system_remain_internal() -> None:
    for name in ("ENOENT", "EINVAL", "ECONNRESET"):
        assert problem_type_of(lack(name)).status == 500
    assert problem_type_of(TimeoutError(errno.ETIMEDOUT, "late")).status == 504
    assert problem_type_of(MemoryError()).status == 503


@pytest.mark.parametrize("name", ["EMFILE", "ENFILE", "ENOMEM"])
def test_an_image_is_not_called_corrupt_when_files_run_out(
    local_service: LocalService, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fail(*args: object) -> None:
        raise lack(name)

    monkeypatch.setattr("models.image.preprocessing.decode_with_pillow", fail)
    answers = [
        local_service.post_image(png()),
        local_service.post("/v1/images/classify-batch", files={"images": ("a.png", png())}),
        local_service.post("/classify_image", files={"image": ("a.png", png())}),
    ]
    assert [answer.status_code for answer in answers] == [503] * 3


def test_an_image_is_not_called_unreachable_when_files_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    service = LocalService(image_url_hosts=("images.example",))

    async def fail(*args: object) -> None:
        raise lack("EMFILE")

    monkeypatch.setattr("serving.kinds.image.fetcher.ImageFetcher._follow", fail)
    assert service.post("/v1/images/classify", json={"url": "http://images.example/a.png"}).status_code == 503


class Stored:
    """One model of a store in a folder, as `StoreCatalog` reads it."""

    name = "tabular"

    def __init__(self, store: Path) -> None:
        self.store = store
        self.artifacts = self
        self.last_status = RunnerStatus(ready=True, model=ModelRef("tabular", "v1"), detail="")

    @property
    def active(self) -> Any:
        return artifacts.find("tabular:v1", store=self.store)

    def versions(self) -> Any:
        return artifacts.versions("tabular", store=self.store)


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    folder = tmp_path / "models" / "tabular" / "v1"
    folder.mkdir(parents=True)
    write_card(TABLE_CARD, folder)
    write_manifest(folder)
    return Stored(tmp_path / "models")


def test_the_list_of_models_is_503_while_the_store_is_away(
    local_service: LocalService, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Catalog, "entries", lambda self: StoreCatalog(lambda: [stored]).entries())  # type: ignore[list-item]
    paths = ("/v1/models", "/v1/models/tabular", "/v1/models/tabular/versions", "/v1/models/tabular/schema")
    assert [local_service.get(path).status_code for path in paths] == [200] * 4
    away = stored.store.with_name("away")
    shutil.move(stored.store, away)
    assert [local_service.get(path).status_code for path in paths] == [503] * 4
    assert local_service.post("/v1/tabular/predict", json={"instances": [ROW]}).status_code == 200
    shutil.move(away, stored.store)
    assert [local_service.get(path).status_code for path in paths] == [200] * 4


@pytest.mark.parametrize("name", ["EMFILE", "ENOMEM"])
@pytest.mark.parametrize("method", ["read_bytes", "iterdir"])
def test_a_version_is_not_missing_when_files_run_out(
    stored: Stored, monkeypatch: pytest.MonkeyPatch, name: str, method: str
) -> None:
    def fail(path: Path) -> None:
        raise lack(name)

    monkeypatch.setattr(Path, method, fail)
    with pytest.raises(StoreUnavailable):
        StoreCatalog(lambda: [stored]).entries()  # type: ignore[list-item]


def test_is_exhausted() -> None:
    assert is_exhausted(lack("ENOSPC"))
    assert not is_exhausted(lack("EACCES"))
    assert not is_exhausted(None)
