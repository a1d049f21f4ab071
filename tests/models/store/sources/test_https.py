"""Sources at web addresses: redirects, credentials, and servers that fail."""

from __future__ import annotations

import logging
import tarfile
from pathlib import Path

import httpx
import pytest

from models.errors import ArtifactError, ArtifactInvalid, ArtifactMissing, SettingsInvalid, SourceUnavailable
from models.store.artifacts import verify, versions
from models.store.sources.fetch import fetch
from models.store.sources.https import check_scheme
from models.store.sources.source import SourceOptions, label_of
from tests.models.store.sources.conftest import FAST, save_artifact
from tests.models.store.sources.web_server import Fault, WebServer

ONCE = SourceOptions(timeout_s=0.3, attempts=1)


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_a_server_that_recovers_is_tried_again(artifact: Path, store: Path, site: WebServer, status: int) -> None:
    url = site.add_folder(artifact, "/churn")
    site.faults["/churn/card.json"] = Fault(status=status)
    verify(fetch(url, name="churn", options=FAST))
    assert len(site.of("/churn/card.json")) == 2


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (404, ArtifactMissing, "there is no 'manifest.json' of source"),
        (410, ArtifactMissing, "there is no 'manifest.json' of source"),
        (401, SourceUnavailable, r"is refused \(status 401\); check the credentials"),
        (403, SourceUnavailable, r"is refused \(status 403\); check the credentials"),
        (400, SourceUnavailable, "answers with status 400"),
        (500, SourceUnavailable, "answers with status 500"),
    ],
)
def test_a_status_has_its_own_message(
    store: Path, site: WebServer, status: int, error: type[ArtifactError], message: str
) -> None:
    site.faults["/churn/manifest.json"] = Fault(times=9, status=status)
    with pytest.raises(error, match=message):
        fetch(f"{site.url}/churn", name="churn", options=ONCE)
    assert versions("churn", store=store) == []


def test_a_server_that_is_silent_ends_the_fetch(artifact: Path, store: Path, site: WebServer) -> None:
    url = site.add_folder(artifact, "/churn")
    site.faults["/churn/weights.npy"] = Fault(wait_s=2)
    with pytest.raises(SourceUnavailable, match=r"'weights\.npy' of source '.*' did not arrive in time"):
        fetch(url, name="churn", options=ONCE)


def test_a_server_that_sends_a_few_bytes_now_and_then_ends_the_fetch(
    artifact: Path, store: Path, site: WebServer
) -> None:
    url = site.add_folder(artifact, "/churn")
    site.faults["/churn/weights.npy"] = Fault(times=9, drips=True)
    with pytest.raises(SourceUnavailable, match="sends less than 1024 bytes per second"):
        fetch(url, name="churn", options=ONCE)


def test_no_server_at_all(store: Path) -> None:
    with pytest.raises(SourceUnavailable, match=r"source 'http://127\.0\.0\.1:1/churn' cannot be reached"):
        fetch("http://127.0.0.1:1/churn", name="churn", options=ONCE)


def test_a_redirect_is_followed(artifact: Path, store: Path, site: WebServer) -> None:
    site.add_folder(artifact, "/v7")
    for file in ("manifest.json", "card.json", "weights.npy", "more/labels.json"):
        site.faults[f"/churn/{file}"] = Fault(location=f"/v7/{file}")
    verify(fetch(f"{site.url}/churn", name="churn", options=FAST))


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("file:///etc/passwd", "redirects to an address that is not permitted"),
        ("ftp://127.0.0.1/manifest.json", "redirects to an address that is not permitted"),
        ("http://models.example/manifest.json", "redirects to an address that is not permitted"),
        ("/churn/manifest.json", "redirects more than 5 times"),
    ],
)
def test_a_redirect_elsewhere_is_refused(store: Path, site: WebServer, location: str, message: str) -> None:
    site.faults["/churn/manifest.json"] = Fault(times=20, location=location)
    with pytest.raises(ArtifactInvalid, match=message):
        fetch(f"{site.url}/churn", name="churn", options=FAST)


def test_credentials_are_sent_to_the_first_host_only(artifact: Path, store: Path, site: WebServer) -> None:
    site.add_folder(artifact, "/v7")
    port = site.url.rpartition(":")[2]
    site.faults["/churn/manifest.json"] = Fault(location=f"http://localhost:{port}/v7/manifest.json")
    with pytest.raises(ArtifactMissing):
        fetch(f"http://anna:s3cret@127.0.0.1:{port}/churn", name="churn", options=FAST)
    first, second, *_ = site.requests
    assert first.headers["Authorization"] == "Basic YW5uYTpzM2NyZXQ="
    assert (second.path, "Authorization" in second.headers) == ("/v7/manifest.json", False)


def test_a_signature_in_the_query_is_sent_with_each_file(artifact: Path, store: Path, site: WebServer) -> None:
    url = site.add_folder(artifact, "/churn")
    verify(fetch(f"{url}?sig=a%2Fb&se=2026", name="churn", options=FAST))
    assert {request.path.partition("?")[2] for request in site.requests} == {"sig=a%2Fb&se=2026"}


@pytest.mark.parametrize("fault", [Fault(times=9, status=403), Fault(times=9, end_after=1), Fault(times=9, wait_s=1)])
def test_secrets_are_in_no_log_and_no_error(
    store: Path, site: WebServer, artifact: Path, caplog: pytest.LogCaptureFixture, fault: Fault
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    url = site.add_folder(artifact, "/churn").replace("http://", "http://anna:s3cret@") + "?token=t0ken"
    site.faults["/churn/weights.npy"] = fault
    with pytest.raises(ArtifactError) as caught:
        fetch(url, name="churn", options=ONCE)
    texts = [caplog.text, str(caught.value), repr(caught.value.__cause__)]
    texts += [path.read_text() for path in (store.parent / ".sources").glob("*.json")]
    assert [text for text in texts if "s3cret" in text or "t0ken" in text or "YW5uY" in text] == []


def test_a_compressed_response_is_refused(artifact: Path, store: Path, site: WebServer) -> None:
    url = site.add_folder(artifact, "/churn")
    site.faults["/churn/manifest.json"] = Fault(headers={"Content-Encoding": "gzip"})
    with pytest.raises(ArtifactInvalid, match="compresses its responses"):
        fetch(url, name="churn", options=FAST)


def test_an_answer_with_another_range_is_refused(artifact: Path, store: Path, site: WebServer) -> None:
    url = site.add_folder(artifact, "/churn")
    site.faults["/churn/weights.npy"] = Fault(end_after=1000)
    with pytest.raises(SourceUnavailable):
        fetch(url, name="churn", options=ONCE)
    site.faults["/churn/weights.npy"] = Fault(times=9, headers={"Content-Range": "bytes 5-9/400128"})
    site.has_ranges = True
    # The partial file is dropped, and the file is read from its start.
    verify(fetch(url, name="churn", options=FAST))
    assert [request.start for request in site.of("/churn/weights.npy")] == [0, 1000, 0]


@pytest.mark.parametrize(
    "url", ["http://models.example/churn", "http://10.0.0.7/churn", "ftp://host/churn", "https:///x"]
)
def test_http_is_for_this_machine_and_permitted_hosts(url: str) -> None:
    with pytest.raises(SettingsInvalid):
        check_scheme(httpx.URL(url), SourceOptions())


@pytest.mark.parametrize("url", ["https://models.example/churn", "http://[::1]:8000/churn", "http://localhost/churn"])
def test_https_and_this_machine_are_permitted(url: str) -> None:
    check_scheme(httpx.URL(url), SourceOptions())


def test_a_host_without_tls_can_be_permitted() -> None:
    check_scheme(httpx.URL("http://minio.internal:9000/churn"), SourceOptions(http_hosts=("minio.internal",)))


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("https://anna:s3cret@host:8443/a/b/?sig=x#y", "https://host:8443/a/b"),
        ("https://host/a@b", "https://host/a@b"),
        ("mlflow://anna:s3cret@host/churn@champion", "mlflow://host/churn@champion"),
        ("s3://bucket/churn/", "s3://bucket/churn"),
        ("hf://org/repo@v1.0/churn", "hf://org/repo@v1.0/churn"),
        ("models:/churn@champion", "models:/churn@champion"),
    ],
)
def test_a_label_has_no_secret(text: str, label: str) -> None:
    assert label_of(text) == label


def test_a_signed_address_that_permits_get_only(artifact: Path, store: Path, site: WebServer) -> None:
    with tarfile.open(artifact.parent / "churn.tar", "w:") as archive:
        archive.add(artifact, arcname=".")
    site.files["/churn.tar"] = (artifact.parent / "churn.tar").read_bytes()
    url = f"{site.url}/churn.tar?sig=x"
    site.faults["/churn.tar"] = Fault(status=403)
    fetched = fetch(url, name="churn", options=FAST)
    site.faults["/churn.tar"] = Fault(status=403)
    assert fetch(url, name="churn", options=FAST) == fetched
    assert [request.method for request in site.requests] == ["HEAD", "GET", "GET", "HEAD", "GET"]


def test_a_tar_whose_server_tells_its_length_alone_is_read_again(store: Path, site: WebServer, tmp_path: Path) -> None:
    """Two tars may have one length. The length alone does not say which of them is there."""
    site.has_etags = False
    fetched = []
    for seed in range(2):
        with tarfile.open(tmp_path / "churn.tar", "w:") as archive:
            archive.add(save_artifact(tmp_path / str(seed), seed=seed), arcname=".")
        site.files["/churn.tar"] = (tmp_path / "churn.tar").read_bytes()
        fetched.append((len(site.files["/churn.tar"]), fetch(f"{site.url}/churn.tar", name="churn", options=FAST)))
    (first_bytes, first), (second_bytes, second) = fetched
    assert first_bytes == second_bytes
    assert first.version != second.version
