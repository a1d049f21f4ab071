"""The token of a runner that is reached over TCP."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from serving.runners.client.remote import RemoteClient, RemoteRunner
from tests.serving.event_loop import in_loop, until
from tests.serving.runners.runner_servers import RunnerServer, listening, warm
from tests.serving.runners.sum_predictors import SumsRunner

TOKEN = "of-a-runner-" * 3
PATHS = (
    ("GET", "/runner/status"),
    ("GET", "/runner/example"),
    ("GET", "/runner/session"),
    ("POST", "/runner/predict"),
    ("POST", "/runner/low-priority/predict"),
    ("POST", "/runner/reload"),
    ("POST", "/runner/versions"),
    ("GET", "/schema.json"),
    ("POST", "/predict"),
    ("GET", "//livez"),
    ("GET", "/livez/"),
)


async def server() -> RunnerServer:
    return RunnerServer(await warm(SumsRunner(), "predict"), token=TOKEN)


@in_loop
async def test_only_probes_are_answered_without_the_token() -> None:
    runner = await server()
    async with (
        listening(runner, port=0) as address,
        httpx.AsyncClient(base_url=address.replace("tcp", "http")) as client,
    ):
        for authorization in (None, "", TOKEN, "Bearer", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"Basic {TOKEN}"):
            headers = {} if authorization is None else {"Authorization": authorization}
            for method, path in PATHS:
                answer = await client.request(method, path, headers=headers)
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
        assert not runner.calls
        for path in ("/livez", "/readyz", "/healthz", "/metrics"):
            assert (await client.get(path)).status_code == 404, "the application behind the interface answers"
        status = await client.get("/runner/status", headers={"Authorization": f"Bearer {TOKEN}"})
        assert status.status_code == 200


@in_loop
async def test_a_unix_socket_needs_no_token(tmp_path: Path) -> None:
    transport = httpx.AsyncHTTPTransport(uds=str(tmp_path / "s"))
    async with listening(await server(), uds=str(tmp_path / "s")), httpx.AsyncClient(transport=transport) as client:
        assert (await client.get("http://runner/runner/status")).status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("token", ["", TOKEN, TOKEN + "x"])
def test_a_client_sends_its_token(token: str) -> None:
    @in_loop
    async def run() -> None:
        async with listening(await server(), port=0) as address:
            client = RemoteClient(RemoteRunner(address, name="sums", token=token), method="predict")
            client.start()
            try:
                status = await client.status(timeout_s=60)
                assert status.ready == (token == TOKEN)
                if token == TOKEN:
                    assert await client.hold([], timeout_s=60) == ()
                else:
                    await until(lambda: "MAKUNOUCHI_RUNNER_TOKEN" in client.last_status.detail)
            finally:
                await client.stop()

    run()
