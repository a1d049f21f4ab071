"""Measure a call of 30 floats by the runner client and by aiohttp: `python -m tests.measure.runner_client`

The two clients alternate, so that other load of the machine affects both.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import numpy as np
import uvloop

from serving.runners.client.connection import Address, open_connection
from serving.runners.wire import MEDIA_TYPE, WireRequest, encode_requests

_HEADER = f"content-type: {MEDIA_TYPE}\r\n"


async def measure(socket: str, *, rounds: int, calls: int) -> None:
    """Print processor time of the client and latency per call, medians over the rounds."""
    pieces = encode_requests([WireRequest(np.ones((1, 30), np.float32), 1, "x" * 32, 1e12)], now=0)
    body = b"".join(pieces)
    connection = await open_connection(Address(path=socket))
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket)) as session:

        async def own() -> None:
            assert (await connection.request("POST", "/runner/predict", pieces, headers=_HEADER)).status == 200

        async def by_aiohttp() -> None:
            async with session.post("http://runner/runner/predict", data=body) as reply:
                await reply.read()
                assert reply.status == 200

        results: dict[str, list[tuple[float, float]]] = {"runner client": [], "aiohttp": []}
        for _ in range(rounds):
            for seen, call in zip(results.values(), (own, by_aiohttp), strict=True):
                seen.append(await _time(call, calls))
    connection.close()
    for name, seen in results.items():
        cpu_us, p50_us = (statistics.median(each[index] for each in seen) for index in (0, 1))
        print(f"{name:13}  client's processor time {cpu_us:4.0f} us, p50 of the call {p50_us:4.0f} us")


async def _time(call: Callable[[], Awaitable[None]], calls: int) -> tuple[float, float]:
    for _ in range(100):
        await call()
    began, took = time.process_time(), []
    for _ in range(calls):
        started = time.perf_counter()
        await call()
        took.append(time.perf_counter() - started)
    return 1e6 * (time.process_time() - began) / calls, 1e6 * statistics.median(took)


async def main(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        socket = Path(scratch) / "runner.sock"
        runner = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.serving.runners.runner_process", str(socket)
        )
        try:
            while not socket.exists():
                assert runner.returncode is None, "the runner did not start"
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
            await measure(str(socket), rounds=options.rounds, calls=options.calls)
        finally:
            runner.kill()
            await runner.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=2000)
    uvloop.run(main(parser.parse_args()))
