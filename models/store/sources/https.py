"""The source `https://host/folder` or `https://host/artifact.tar`, and the HTTP client of the other sources.

Redirects are followed here, because each has to be checked, and because credentials go to the first host only.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Final
from urllib.parse import quote, unquote, urlsplit

import httpx

from models.errors import ArtifactInvalid, SettingsInvalid, SourceUnavailable
from models.store.sources.source import NOT_FOUND, Source, SourceOptions, Stream, silence, status_fault

MAX_REDIRECTS: Final = 5
_CONNECT_S: Final = 5.0
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


def check_scheme(url: httpx.URL, options: SourceOptions) -> None:
    """Raise SettingsInvalid unless `url` is https://, or http:// of this machine or of a host in the options."""
    if not url.host or url.scheme not in ("http", "https"):
        raise SettingsInvalid("only https:// and http:// addresses with a host are fetched")
    if url.scheme == "http" and not is_loopback(url.host) and url.host not in options.http_hosts:
        raise SettingsInvalid(
            f"http://{url.host} has no TLS; use https://, or add the host to MAKUNOUCHI_SOURCE_HTTP_HOSTS"
        )


def is_loopback(host: str) -> bool:
    """Return whether `host` names this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class HttpFiles:
    """Reads files over HTTP, with `headers` for the first host. `label` names the source in errors.

    The statuses `missing` mean that there is no such file.
    """

    def __init__(
        self,
        label: str,
        options: SourceOptions,
        *,
        headers: Mapping[str, str] | None = None,
        missing: Collection[int] = NOT_FOUND,
    ) -> None:
        silence("httpx", "httpcore")
        self._label = label
        self._options = options
        self._missing = missing
        self._headers = dict(headers or {})
        # A compressed response would have another length than the file.
        fixed = {"Accept-Encoding": "identity", "User-Agent": "makunouchi"}
        timeout = httpx.Timeout(options.timeout_s, connect=min(options.timeout_s, _CONNECT_S))
        self._client = httpx.Client(timeout=timeout, headers=fixed, follow_redirects=False)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @contextmanager
    def respond(self, method: str, url: httpx.URL, *, start: int = 0, what: str = "") -> Iterator[httpx.Response]:
        """Send a request and follow its redirects. Raise for what is not a success; the body is not read."""
        try:
            with self._follow(method, url, start) as response:
                if not response.is_success:
                    raise status_fault(self._label, response.status_code, what=what, missing=self._missing)
                yield response
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            # The original names the address, with its query.
            raise SourceUnavailable(self._broken(error, what), is_transient=True) from None

    def _broken(self, error: Exception, what: str) -> str:
        named = f"'{what}' of source '{self._label}'" if what else f"source '{self._label}'"
        if isinstance(error, httpx.TimeoutException):
            return f"{named} did not arrive in time"
        if isinstance(error, httpx.ConnectError):
            return f"source '{self._label}' cannot be reached"
        return f"the connection broke while {named} was read ({type(error).__name__})"

    @contextmanager
    def _follow(self, method: str, url: httpx.URL, start: int) -> Iterator[httpx.Response]:
        origin = _origin(url)
        for _ in range(1 + MAX_REDIRECTS):
            headers = dict(self._headers) if _origin(url) == origin else {}
            if start:
                headers["Range"] = f"bytes={start}-"
            with self._client.stream(method, url, headers=headers) as response:
                if response.status_code not in _REDIRECTS:
                    yield response
                    return
                url = self._redirected(url, response.headers.get("Location", ""))
        raise ArtifactInvalid(f"source '{self._label}' redirects more than {MAX_REDIRECTS} times")

    def _redirected(self, url: httpx.URL, location: str) -> httpx.URL:
        target = url.join(location)
        if url.scheme == "https" and target.scheme != "https":
            raise ArtifactInvalid(f"source '{self._label}' redirects from https:// to another scheme, which is refused")
        try:
            check_scheme(target, self._options)
        except SettingsInvalid:
            raise ArtifactInvalid(f"source '{self._label}' redirects to an address that is not permitted") from None
        # Credentials in the address of a redirect would be sent to its host.
        return target.copy_with(userinfo=b"")

    @contextmanager
    def stream(self, url: httpx.URL, *, start: int = 0, what: str = "") -> Iterator[Stream]:
        """Open the file at `url` from the offset `start` on, or from 0 where the server ignores ranges."""
        with self.respond("GET", url, start=start, what=what) as response:
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise ArtifactInvalid(f"source '{self._label}' compresses its responses, which is not supported")
            if response.status_code == 206:
                match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
                if match is None or int(match[1]) != start:
                    raise ArtifactInvalid(f"source '{self._label}' answers with another range than the requested one")
                yield Stream(start, None if match[2] == "*" else int(match[2]), response.iter_raw())
            else:
                length = response.headers.get("Content-Length", "")
                yield Stream(0, int(length) if length.isdigit() else None, response.iter_raw())


class HttpsSource(Source):
    """An artifact at a web address. A query, such as a signature, is sent with each file and never logged.

    Errors name `label`, or else the address.
    """

    def __init__(
        self, url: str, options: SourceOptions, *, headers: Mapping[str, str] | None = None, label: str = ""
    ) -> None:
        super().__init__(label or url)
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            raise SettingsInvalid("the source is not a valid URL") from None
        check_scheme(parsed, options)
        self._url = parsed.copy_with(userinfo=b"", fragment=None)
        self._files = HttpFiles(self.label, options, headers=_authorization(parsed) | dict(headers or {}))

    def revision(self) -> str:
        if not self.is_archive:
            return ""
        try:
            return self._headers_of("HEAD")
        except SourceUnavailable as error:
            # A signed address may permit GET only. Its body is not read.
            if error.is_transient:
                raise
            return self._headers_of("GET")

    def _headers_of(self, method: str) -> str:
        with self._files.respond(method, self._url) as response:
            # Two tars may have one length, so it says nothing alone.
            names = ("ETag", "Last-Modified")
            return " ".join(response.headers[name] for name in names if name in response.headers)

    def stream(self, file: str, *, start: int = 0) -> AbstractContextManager[Stream]:
        return self._files.stream(self._file_url(file), start=start, what=file)

    def _file_url(self, file: str) -> httpx.URL:
        if not file:
            return self._url
        path, question, query = self._url.raw_path.partition(b"?")
        return self._url.copy_with(raw_path=path.rstrip(b"/") + b"/" + quote(file).encode() + question + query)

    def close(self) -> None:
        self._files.close()


def _authorization(url: httpx.URL) -> dict[str, str]:
    """Return the header for the user and the password in `url`."""
    if not url.userinfo:
        return {}
    encoded = base64.b64encode(f"{url.username}:{url.password}".encode()).decode()
    return {"Authorization": f"Basic {encoded}"}


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def path_parts(url: str) -> tuple[str, list[str]]:
    """Return the host of `url`, and the decoded parts of its path."""
    parts = urlsplit(url)
    return parts.netloc, [unquote(part) for part in parts.path.split("/") if part]
