"""Sources in buckets, on a local S3 server."""

from __future__ import annotations

import logging
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from models.errors import ArtifactError, ArtifactInvalid, ArtifactMissing, SettingsInvalid, SourceUnavailable
from models.store.artifacts import find, verify, versions
from models.store.sources.fetch import fetch
from models.store.sources.resolve import resolve
from models.store.sources.source import SourceOptions
from tests.models.store.forbidden_formats import FORBIDDEN, refused, spoil
from tests.models.store.sources.conftest import FAST, save_artifact
from tests.models.store.sources.web_server import Fault, WebServer

ROOT = Path(__file__).parents[4]
KEY, SECRET = "AKIAEXAMPLE", "s3cret-of-the-bucket"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:  # Any: boto3 makes its classes from data
    """An empty bucket `models`, and the variables that boto3 reads."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = boto3.resource("s3").Bucket("models")
    bucket.create()
    yield bucket
    bucket.objects.all().delete()
    bucket.delete()


def upload(bucket: Any, folder: Path, prefix: str) -> None:  # Any: boto3 makes its classes from data
    for path in folder.rglob("*"):
        if path.is_file():
            bucket.upload_file(str(path), f"{prefix}/{path.relative_to(folder).as_posix()}")


def test_an_artifact_in_a_bucket(artifact: Path, store: Path, bucket: Any) -> None:
    upload(bucket, artifact, "teams/churn")
    fetched = fetch("s3://models/teams/churn", name="churn", options=FAST)
    verify(fetched)
    assert fetch("s3://models/teams/churn/", name="churn", options=FAST) == fetched


def test_a_new_upload_is_noticed(artifact: Path, store: Path, bucket: Any, tmp_path: Path) -> None:
    upload(bucket, artifact, "churn")
    first = fetch("s3://models/churn", name="churn", options=FAST)
    upload(bucket, save_artifact(tmp_path / "next", seed=1), "churn")
    second = fetch("s3://models/churn", name="churn", options=FAST)
    assert second.version != first.version


def test_a_tar_in_a_bucket(artifact: Path, store: Path, bucket: Any) -> None:
    with tarfile.open(artifact.parent / "churn.tar.gz", "w:gz") as archive:
        archive.add(artifact, arcname=".")
    bucket.upload_file(str(artifact.parent / "churn.tar.gz"), "churn.tar.gz")
    fetched = fetch("s3://models/churn.tar.gz", name="churn", options=FAST)
    verify(fetched)
    assert fetch("s3://models/churn.tar.gz", name="churn", options=FAST) == fetched
    bucket.put_object(Key="churn.tar.gz", Body=b"another")
    with pytest.raises(ArtifactInvalid, match="is not a tar"):
        fetch("s3://models/churn.tar.gz", name="churn", options=FAST)


def test_partial_bytes_are_continued(artifact: Path, store: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(bucket, artifact, "churn")
    whole = (artifact / "weights.npy").read_bytes()
    bucket.put_object(Key="churn/weights.npy", Body=whole[:100_000])
    with pytest.raises(ArtifactError, match="its manifest says 400128"):
        fetch("s3://models/churn", name="churn", options=FAST)
    (home,) = [path for path in (store.parent / ".sources").rglob("*") if (path / "card.json").exists()]
    (home / "weights.npy").write_bytes(whole[:100_000])
    # Only the rest is right: had it been read from the start, its hash would be wrong.
    bucket.put_object(Key="churn/weights.npy", Body=b"x" * 100_000 + whole[100_000:])
    verify(fetch("s3://models/churn", name="churn", options=FAST))


def test_an_object_that_is_not_there(store: Path, bucket: Any) -> None:
    with pytest.raises(ArtifactMissing, match=r"there is no 'manifest\.json' of source 's3://models/other'"):
        fetch("s3://models/other", name="churn", options=FAST)
    with pytest.raises(ArtifactMissing, match=r"there is no source 's3://nothing/x\.tar'"):
        fetch("s3://nothing/x.tar", name="churn", options=FAST)


def test_a_bucket_that_is_away_leaves_the_version_that_came_from_it(
    artifact: Path, store: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    upload(bucket, artifact, "churn")
    version = resolve("s3://models/churn", name="churn", options=FAST)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    assert resolve("s3://models/churn", name="churn", options=SourceOptions(attempts=1)) == version
    assert f"churn:{version} is used, which came from it earlier" in caplog.text


def test_requests_without_any_credentials_are_not_signed(
    artifact: Path, store: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(bucket, artifact, "churn")
    for item in bucket.objects.all():
        item.Acl().put(ACL="public-read")
    # Not the files of another test or of this machine.
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(store / "nothing"))
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with monkeypatch.context() as without_keys:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            without_keys.delenv(name)
        verify(fetch("s3://models/churn", name="churn", options=FAST))


@pytest.mark.parametrize("fault", [Fault(times=9, status=403), Fault(times=9, status=500), Fault(times=9, end_after=9)])
def test_keys_are_in_no_log_and_no_error(
    artifact: Path,
    store: Path,
    bucket: Any,
    site: WebServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: Fault,
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("boto3", "botocore", "urllib3"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    site.add_folder(artifact, "/models/churn")
    site.faults["/models/churn/weights.npy"] = fault
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", site.url)
    with pytest.raises(SourceUnavailable) as caught:
        fetch("s3://models/churn", name="churn", options=SourceOptions(timeout_s=2, attempts=1))
    texts = [caplog.text, str(caught.value), repr(caught.value.__cause__)]
    assert [text for text in texts if SECRET in text or KEY in text] == []
    assert "Authorization" in site.requests[0].headers
    assert versions("churn", store=store) == []


@pytest.mark.parametrize("source", ["s3://", "s3://models", "s3:///churn", "s3://mo dels/churn"])
def test_a_malformed_source_is_named(store: Path, source: str) -> None:
    with pytest.raises(SettingsInvalid, match="an S3 source is s3://bucket/prefix"):
        fetch(source, name="churn", options=FAST)


def test_a_missing_client_names_the_command_and_stops_no_service(
    artifact: Path, store: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    upload(bucket, artifact, "churn")
    version = resolve("s3://models/churn", name="churn", options=FAST)
    monkeypatch.setitem(sys.modules, "boto3", None)
    message = "source 's3://models/churn' needs the package boto3; run: pip install boto3"
    with pytest.raises(SettingsInvalid, match=message):
        fetch("s3://models/churn", name="churn", options=FAST)
    assert resolve("s3://models/churn", name="churn", options=FAST) == version


@pytest.mark.slow
def test_the_command_fetches_from_a_bucket(artifact: Path, store: Path, bucket: Any) -> None:
    upload(bucket, artifact, "churn")
    command = [sys.executable, "-m", "models.store", "fetch", "s3://models/churn", "--name", "churn"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{find('churn', store=store).tag}\n"
    assert done.stderr == ""


def test_formats_that_may_run_code_are_refused(artifact: Path, store: Path, bucket: Any) -> None:
    for file in FORBIDDEN:
        spoil(artifact, file)
        upload(bucket, artifact, "churn")
        with refused(store, file):
            fetch("s3://models/churn", name="churn", options=FAST)
