"""Tests of images by URL with real local servers: allowed addresses, size and time limits."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp.resolver import ThreadedResolver

from models.errors import InputError, InputTooLarge
from serving.context import set_caller
from serving.errors.exceptions import CallerLimitReached, LimitReached
from serving.kinds.image.fetcher import ImageFetcher, is_public
from serving.kinds.registry import ServiceSettings
from tests.serving.event_loop import in_loop
from tests.serving.in_process_service import LocalService, png

HERE = ("127.0.0.0/8",)
# 127.0.0.1 in Unicode digits that browsers accept.
FULL_WIDTH = "127.0.0.1".translate({ord(str(digit)): 0xFF10 + digit for digit in range(10)})
Answer = Callable[[str], bytes]


def ok(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def to(location: str, status: str = "302 Found") -> bytes:
    return f"HTTP/1.1 {status}\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()


@contextlib.asynccontextmanager
async def server(answer: Answer, *, hangs: bool = False) -> AsyncIterator[tuple[str, list[str]]]:
    """Serve bytes by path. Return the URL and the list of requested paths."""
    requested: list[str] = []

    handling: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handling.add(asyncio.current_task())  # type: ignore[arg-type]  # runs in a task
        head = await reader.readuntil(b"\r\n\r\n")
        requested.append(head.split()[1].decode())
        writer.write(answer(requested[-1]))
        with contextlib.suppress(OSError):
            await writer.drain()
            if hangs:
                await reader.read()
            writer.close()
            await writer.wait_closed()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", requested
    finally:
        listener.close()
        await listener.wait_closed()
        await asyncio.wait_for(asyncio.gather(*handling, return_exceptions=True), 60)


def fetcher(**more: Any) -> ImageFetcher:
    chosen: dict[str, Any] = {"hosts": ("*",), "networks": HERE, "timeout_s": 60.0, "max_bytes": 10_000}
    return ImageFetcher(**(chosen | more))


async def refused(by: ImageFetcher, url: str) -> str:
    with pytest.raises(InputError) as caught:
        await by.fetch(url)
    assert caught.value.location == ("body", "url")
    return str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "0.0.0.1", "10.0.0.1", "172.16.9.9", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "100.100.100.200", "168.63.129.16", "192.0.0.192", "198.18.0.1", "224.0.0.1", "255.255.255.255", "::", "::1",
        "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
        "2002:7f00:1::", "2001:0:7f00:1::", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2001:db8::1",
    ],
)  # fmt: skip
def test_private_and_special_addresses_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@in_loop
async def test_redirects_are_followed() -> None:
    pages = {"/a": to("/b?x=1", "301 Moved"), "/b?x=1": to("c"), "/c": ok(png())}
    async with server(pages.__getitem__) as (url, requested):
        assert await fetcher().fetch(f"{url}/a") == png()
        assert requested == ["/a", "/b?x=1", "/c"]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://127.1/", "http://0x7f000001/", "http://2130706433/", "http://0177.0.0.1/",
        "http://[::1]/", "http://[::ffff:7f00:1]/", "http://0/", "http://169.254.169.254/latest/meta-data/",
        "http://localhost/", "http://localhost./", f"http://{FULL_WIDTH}/", "http://127.0.0.1./",
    ],
)  # fmt: skip
@in_loop
async def test_private_addresses_are_refused_in_every_notation(url: str) -> None:
    # Some systems do not resolve some of these, so the check of the address is not reached.
    detail = await refused(fetcher(networks=()), url)
    assert "not a public one" in detail or "did not answer" in detail


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file:///etc/passwd", "only http:// and https://"),
        ("ftp://images.example/a", "only http:// and https://"),
        ("gopher://images.example/a", "only http:// and https://"),
        ("data:image/png;base64,AAAA", "only http:// and https://"),
        ("//images.example/a", "only http:// and https://"),
        ("http://", "only http:// and https://|no URL"),
        ("http://user@images.example/a", "a user or a password"),
        ("http://images.example:22/a", "only the ports 80 and 443"),
        ("http://[::1", "not a URL"),
        ("http://x/" + "a" * 3000, "not a URL"),
    ],
)
@in_loop
async def test_other_url_schemes_and_ports_are_refused(url: str, message: str) -> None:
    detail = await refused(fetcher(networks=()), url)
    assert any(each in detail for each in message.split("|"))


@in_loop
async def test_allowed_network_does_not_allow_other_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, ["93.184.215.14"])
    for url in ("http://8.8.8.8:22/", "http://[2606:4700::1111]:8080/", "http://images.example:22/"):
        assert "only the ports 80 and 443" in await refused(fetcher(), url)


@in_loop
async def test_redirect_to_a_private_address_is_refused() -> None:
    for target in ("http://127.0.0.2/", "http://10.0.0.1/", "http://[::1]/", "//127.0.0.3/x", "file:///etc/passwd"):
        async with server(lambda _, target=target: to(target)) as (url, requested):  # type: ignore[misc]
            detail = await refused(fetcher(networks=("127.0.0.1/32",)), f"{url}/a")
            assert "not a public one" in detail or "only http" in detail
            assert requested == ["/a"]


@in_loop
async def test_redirect_to_another_host_is_refused() -> None:
    async with server(lambda _: to("http://other.example/")) as (url, _):
        assert "not fetched from this host" in await refused(fetcher(hosts=("127.0.0.1",)), url)


@in_loop
async def test_redirect_loop_ends() -> None:
    async with server(lambda _: to("/again")) as (url, requested):
        assert "more than 3 redirects" in await refused(fetcher(), url)
        assert len(requested) == 4


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Resolve names to each of `answers` in turn, like a DNS rebinding server. Return the resolved names."""
    requested: list[str] = []

    async def resolve(self: Any, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[Any]:
        addresses = answers[min(len(requested), len(answers) - 1)]
        requested.append(host)
        return [
            {"hostname": host, "host": each, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
            for each in addresses
        ]

    monkeypatch.setattr(ThreadedResolver, "resolve", resolve)
    return requested


def test_name_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, ["93.184.215.14", "127.0.0.1"])

    assert "not a public one" in asyncio.run(refused(fetcher(networks=()), "http://images.example/a"))


def test_connection_uses_the_checked_address_after_each_redirect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 127.0.0.1 is allowed and redirects to the same name, which then resolves to 127.0.0.2.
    requested = resolving(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])

    async def run() -> list[str]:
        async with server(lambda path: ok(png()) if path == "/b" else to("/b")) as (url, paths):
            port = url.rpartition(":")[2]
            detail = await refused(fetcher(networks=("127.0.0.1/32",)), f"http://rebind.example:{port}/a")
            assert "not a public one" in detail
            return paths

    assert asyncio.run(run()) == ["/a"]
    assert requested == ["rebind.example", "rebind.example"]


@in_loop
async def test_only_listed_hosts_are_allowed() -> None:
    by = fetcher(hosts=("images.example", ".cdn.example"))
    for host in ("other.example", "images.example.evil.example", "cdn.example", "xcdn.example"):
        assert "not fetched from this host" in await refused(by, f"http://{host}/")


@in_loop
async def test_too_large_image_is_not_read_completely() -> None:
    for headers in ((), ("Content-Length: 10001",)):
        async with server(lambda _, headers=headers: ok(b"x" * 10_001, *headers)) as (url, _):  # type: ignore[misc]
            with pytest.raises(InputTooLarge):
                await fetcher().fetch(url)


@in_loop
async def test_slow_server_times_out() -> None:
    for start in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"):
        async with server(lambda _, start=start: start, hangs=True) as (url, _):  # type: ignore[misc]
            assert "no complete response within 0.2 s" in await refused(fetcher(timeout_s=0.2), url)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "the response has the status 404"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "did not answer as a web server"),
        (ok(b"x", "Content-Encoding: gzip"), "the response is compressed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", "did not answer as a web server"),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "redirects"),
    ],
)
@in_loop
async def test_other_content_is_refused_without_showing_it(answer: bytes, message: str) -> None:
    async with server(lambda _: answer) as (url, _):
        detail = await refused(fetcher(), url)
        assert message in detail
        assert "OpenSSH" not in detail


def test_fetching_is_disabled_by_default(local_service: LocalService) -> None:
    response = local_service.post("/v1/images/classify", json={"url": "http://127.0.0.1:1/cat.png"})

    assert response.status_code == 422
    assert "not fetched by URL here" in response.json()["detail"]
    assert "ClassifyUrl" not in local_service.get("/openapi.json").json()["components"]["schemas"]


def test_classify_by_url() -> None:
    async def run() -> None:
        async with server(lambda _: ok(png((0, 0, 255)))) as (url, _):
            local_service = LocalService(image_url_hosts=("127.0.0.1",), image_url_networks=HERE)
            async with local_service.client() as client:
                answer = await client.post("/v1/images/classify", json={"url": f"{url}/blue.png", "top_k": 1})
                assert "ClassifyUrl" in (await client.get("/openapi.json")).json()["components"]["schemas"]
            assert answer.json()["predictions"][0]["label"] == "blue"

    asyncio.run(run())


def test_fetched_images_are_not_cached() -> None:
    async def run() -> None:
        colours = [(0, 0, 255), (255, 0, 0)]
        async with server(lambda _: ok(png(colours.pop(0)))) as (url, requested):
            local_service = LocalService(image_url_hosts=("127.0.0.1",), image_url_networks=HERE, cache_bytes=1_000_000)
            async with local_service.client() as client:
                answers = [await client.post("/v1/images/classify", json={"url": url, "top_k": 1}) for _ in range(2)]
            assert len(requested) == 2
            assert answers[0].headers["X-Cache"] == answers[1].headers["X-Cache"] == "miss"
            first, second = (answer.json()["predictions"] for answer in answers)
            assert first[0]["label"] == "blue"
            assert second != first

    asyncio.run(run())


def test_invalid_network_setting_stops_the_start() -> None:
    with pytest.raises(ValueError, match="image_url_networks"):
        ServiceSettings(image_url_networks=("10.0.0.1/8",))


def test_concurrent_fetches_are_limited() -> None:
    by = fetcher()
    by.fetches.acquire("key:ann", 8)

    async def fetch() -> None:
        set_caller(lambda: "key:ann")
        await by.fetch("http://127.0.0.1/")

    with pytest.raises(CallerLimitReached, match="you use 8 of the 16 fetches of images"):
        asyncio.run(fetch())
    by.fetches.add("key:bob", 8)
    with pytest.raises(LimitReached, match="all 16 fetches of images are in use"):
        asyncio.run(fetch())


def test_slow_look_ups_of_one_caller_leave_threads_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    by, answered = fetcher(networks=()), threading.Event()

    def getaddrinfo(host: str, *args: Any, **options: Any) -> Any:
        if host == "slow.example":
            answered.wait(60)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    async def fetch(caller: str, host: str) -> None:
        set_caller(lambda: caller)
        await by.fetch(f"http://{host}/a.png")

    async def test() -> None:
        # A fetch that is over leaves its look-up behind.
        slow = [asyncio.create_task(fetch("key:ann", "slow.example")) for _ in range(8)]
        await asyncio.sleep(0.1)
        for task in slow:
            task.cancel()
        await asyncio.wait(slow)
        with pytest.raises(InputError, match="did not answer"):
            await asyncio.wait_for(fetch("key:bob", "quick.example"), 30)
        answered.set()

    asyncio.run(test())
