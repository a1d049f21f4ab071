"""The sources `models:/name@alias`, `models:/name/version`, `mlflow://host/name@alias` of an MLflow model registry.

Two requests of MLflow's REST API give the version and where its files are. Its client is not used: it brings 16 more
packages into the service, and a loader of pickles. The server is `MLFLOW_REGISTRY_URI`, `MLFLOW_TRACKING_URI`, or the
host in `mlflow://`.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Final
from urllib.parse import quote, unquote, urlsplit

import httpx

from models.errors import ArtifactInvalid, SettingsInvalid
from models.store.sources.files import FileSource
from models.store.sources.https import HttpFiles, HttpsSource, check_scheme, is_loopback
from models.store.sources.s3 import S3Source
from models.store.sources.source import NOT_FOUND, Source, SourceOptions, Stream

MAX_RESPONSE_BYTES: Final = 1 << 20
# A name of a registered model has no "/" and no ":".
_MODEL: Final = re.compile(r"([^/:@?#]+)(?:@([\w.-]+)|/(\d+))")
_ARTIFACTS: Final = "api/2.0/mlflow-artifacts/artifacts"


class MlflowSource(Source):
    """An artifact that is registered as a version of a model. An alias is looked up once per object."""

    def __init__(self, text: str, options: SourceOptions, *, environment: Mapping[str, str] = os.environ) -> None:
        super().__init__(text)
        server, model = _split(text, options, environment)
        match = _MODEL.fullmatch(model)
        if match is None:
            raise SettingsInvalid(
                "a source of MLflow is models:/name@alias, models:/name/version, or mlflow://host/name@alias"
            )
        self._model, self._name, self._alias, self._version = model, match[1], match[2], match[3]
        self._server, self._options = server, options
        self._headers = _credentials(environment)
        # MLflow answers with 400 for an unknown alias.
        self._api = HttpFiles(self.label, options, headers=self._headers, missing=(*NOT_FOUND, 400))

    @property
    def is_archive(self) -> bool:
        return False

    def revision(self) -> str:
        return f"version {self._number}"

    def stream(self, file: str, *, start: int = 0) -> AbstractContextManager[Stream]:
        return self._files.stream(file, start=start)

    def close(self) -> None:
        self._api.close()
        if "_files" in self.__dict__:
            self._files.close()

    @cached_property
    def _number(self) -> str:
        if self._version:
            return self._version
        return self._ask("registered-models/alias", "model_version", "version", alias=self._alias)

    @cached_property
    def _files(self) -> Source:
        """The source of the version's files, where the server says that they are."""
        uri = self._ask("model-versions/get-download-uri", "artifact_uri", version=self._number)
        parts = urlsplit(uri)
        if parts.scheme == "mlflow-artifacts":
            address = f"{str(self._server).rstrip('/')}/{_ARTIFACTS}/{quote(unquote(parts.path).strip('/'))}"
            return HttpsSource(address, self._options, headers=self._headers, label=self.label)
        if parts.scheme == "s3":
            return S3Source(uri, self._options)
        # A server elsewhere has no business with the folders of this machine.
        if parts.scheme in ("", "file") and is_loopback(self._server.host):
            return FileSource(uri if parts.scheme else f"file://{quote(uri)}")
        stored = f"{parts.scheme}:" if parts.scheme else "a folder of its server"
        raise SettingsInvalid(
            f"the files of source '{self.label}' are at {stored}; supported are mlflow-artifacts: and s3:, "
            "and folders where the server runs on this machine"
        )

    def _ask(self, method: str, *fields: str, **query: str) -> str:
        """Call a method of MLflow's REST API, and return one text of its response."""
        address = f"{str(self._server).rstrip('/')}/api/2.0/mlflow/{method}"
        body = bytearray()
        with self._api.stream(httpx.URL(address, params={"name": self._name, **query}), what=self._model) as stream:
            for chunk in stream.chunks:
                body += chunk
                if len(body) > MAX_RESPONSE_BYTES:
                    raise self._not_mlflow()
        try:
            value = json.loads(body)
            for field in fields:
                value = value[field]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise self._not_mlflow() from None
        return str(value)

    def _not_mlflow(self) -> ArtifactInvalid:
        return ArtifactInvalid(f"the server of source '{self.label}' does not answer as MLflow does")


def _split(text: str, options: SourceOptions, environment: Mapping[str, str]) -> tuple[httpx.URL, str]:
    """Return the address of the server, and the model: "name@alias" or "name/version"."""
    if text.startswith("models:/"):
        address = environment.get("MLFLOW_REGISTRY_URI") or environment.get("MLFLOW_TRACKING_URI") or ""
        model = text.removeprefix("models:").strip("/")
        if not address.startswith(("http://", "https://")):
            raise SettingsInvalid(
                f"source '{text}' needs the address of its server in MLFLOW_TRACKING_URI: https://host"
            )
    else:
        parts = urlsplit(text)
        host = parts.hostname or ""
        scheme = "http" if is_loopback(host) or host in options.http_hosts else "https"
        address, model = f"{scheme}://{parts.netloc.rpartition('@')[2]}", unquote(parts.path.strip("/"))
    try:
        server = httpx.URL(address)
    except httpx.InvalidURL:
        raise SettingsInvalid("the address of the MLflow server is not a valid URL") from None
    check_scheme(server, options)
    return server, model


def _credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the header for the credentials in the variables that MLflow's client reads."""
    if token := environment.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    user, password = environment.get("MLFLOW_TRACKING_USERNAME"), environment.get("MLFLOW_TRACKING_PASSWORD")
    if user and password:
        return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}
    return {}
