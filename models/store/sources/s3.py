"""The source `s3://bucket/prefix`, on AWS or any endpoint that speaks S3, with boto3.

Credentials, region and endpoint come from where boto3 looks for them: `AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL_S3`,
`~/.aws`, the role of the machine. Without any credentials, requests are not signed, as a public bucket expects.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from models.errors import SettingsInvalid, SourceUnavailable
from models.store.sources.https import path_parts
from models.store.sources.source import (
    CHUNK_BYTES,
    Source,
    SourceOptions,
    Stream,
    package_missing,
    silence,
    status_fault,
)

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


class S3Source(Source):
    """An artifact below a prefix of a bucket, or a tar that is one object."""

    def __init__(self, url: str, options: SourceOptions) -> None:
        super().__init__(url)
        bucket, parts = path_parts(url)
        if not _BUCKET.fullmatch(bucket) or not parts:
            raise SettingsInvalid("an S3 source is s3://bucket/prefix")
        self._bucket, self._prefix = bucket, "/".join(parts)
        self._client = _client(self.label, options)

    def revision(self) -> str:
        if not self.is_archive:
            return ""
        with _faults(self.label, ""):
            return str(self._client.head_object(Bucket=self._bucket, Key=self._prefix)["ETag"])

    @contextmanager
    def stream(self, file: str, *, start: int = 0) -> Iterator[Stream]:
        key = f"{self._prefix}/{file}" if file else self._prefix
        wanted = {"Range": f"bytes={start}-"} if start else {}
        with _faults(self.label, file):
            response = self._client.get_object(Bucket=self._bucket, Key=key, **wanted)
            with closing(response["Body"]) as body:
                # An endpoint that ignores ranges sends the file from its start, without this field.
                has_range = "ContentRange" in response
                size_bytes = int(response["ContentLength"]) + (start if has_range else 0)
                yield Stream(start if has_range else 0, size_bytes, body.iter_chunks(CHUNK_BYTES))

    def close(self) -> None:
        self._client.close()


def _client(label: str, options: SourceOptions) -> Any:  # Any: boto3 makes its clients from data
    try:
        import boto3
        from botocore import UNSIGNED
        from botocore.config import Config
    except ImportError as error:
        raise package_missing(label, "boto3") from error
    silence("boto3", "botocore", "urllib3")
    with _faults(label, ""):
        session = boto3.session.Session()
        config = Config(
            connect_timeout=min(options.timeout_s, 5),
            read_timeout=options.timeout_s,
            # The download counts its own attempts, because only it knows whether there was progress.
            retries={"total_max_attempts": 1, "mode": "standard"},
            signature_version=None if session.get_credentials() else UNSIGNED,
        )
        return session.client("s3", config=config)


@contextmanager
def _faults(label: str, file: str) -> Iterator[None]:
    """Raise the errors of a source for those of boto3, whose messages may name keys and addresses."""
    from botocore import exceptions

    try:
        yield
    except exceptions.ClientError as error:
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        raise status_fault(label, status, what=file) from None
    except exceptions.BotoCoreError as error:
        # Others are faults of the set-up: an unknown profile, partial credentials, no region.
        transient = (exceptions.ConnectionError, exceptions.HTTPClientError, exceptions.IncompleteReadError)
        is_transient = isinstance(error, transient)
        message = f"source '{label}' cannot be read with boto3 ({type(error).__name__})"
        raise SourceUnavailable(message, is_transient=is_transient) from None
