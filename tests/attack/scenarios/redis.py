"""A shared Redis that contains foreign values, hangs, and is killed."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attack.scenario import Attack, scenario
from tests.attack.target import REDIS_SOCKET, SECOND_SERVER
from tests.serving.redis_server import redis_server

VALUES = {
    "empty": b"",
    "text": b"garbage",
    "bytes": bytes(range(256)),
    "no-headers": b"{}\nnot json",
    "cookie": b'{"Set-Cookie":"session=forged","Content-Type":"text/html"}\n<script>alert(1)</script>',
    "header-list": b'[["Set-Cookie","session=forged"]]\n{}',
    "large": b"{}\n" + b"a" * (4 << 20),
    "pickle": b"\x80\x04\x95\x00\x00N.",
}


@scenario("redis", env=SECOND_SERVER, faults=(14,))
def redis(attack: Attack) -> None:
    """Replace cached responses and buckets by foreign values, then stop and kill Redis. Callers must not notice."""
    try:
        redis_server()
    except pytest.skip.Exception as reason:
        attack.fact(f"not run: {reason}")
        return
    with _running(attack.target.folder) as (process, client):
        # The breaker of the service retries every 2 s.
        time.sleep(3)
        _predict(attack)
        attack.require(bool(client.keys("*cache*")), "no response was cached in Redis")
        for name, value in VALUES.items():
            for key in client.keys("*"):
                client.delete(key)
                client.set(key, value)
            response = _predict(attack)
            is_right = response.status_code == 200 and "predictions" in response.text
            attack.require(is_right, f"with the value '{name}' in Redis: {response.status_code} {response.text[:80]!r}")
            attack.require("set-cookie" not in response.headers, f"the header of the value '{name}' passed through")
            client.flushall()
            _predict(attack)
        wrong = sum(number for status, number in attack.seen.items() if status != "200")
        attack.fact(f"foreign values in Redis: {wrong} of {sum(attack.seen.values())} predictions failed")
        process.suspend()
        hung = [_predict(attack).elapsed.total_seconds() for _ in range(5)]
        process.resume()
    dead = [_predict(attack).elapsed.total_seconds() for _ in range(5)]
    attack.fact(f"slowest prediction with a stopped Redis {max(hung):.2f} s, with a killed one {max(dead):.2f} s")
    attack.within(max(*hung, *dead), 1.0, "a prediction without Redis")


def _predict(attack: Attack) -> Any:  # Any: a response of httpx
    response = attack.target.send("POST", "/v1/tabular/predict", json={"instances": [attack.bystander.row]})
    attack.count(response.status_code)
    return response


@contextlib.contextmanager
def _running(folder: Path) -> Iterator[tuple[Any, Any]]:  # Any: a process of psutil, a client of redis
    """Run a redis-server on a unix socket, and kill it at the end."""
    import psutil  # type: ignore[import-untyped]
    from redis import Redis

    path = folder / REDIS_SOCKET
    command = [redis_server(), "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([*command, "--dir", str(folder)], stdout=subprocess.DEVNULL)
    try:
        while not path.exists():
            time.sleep(0.05)
        with Redis(unix_socket_path=str(path)) as client:
            yield psutil.Process(process.pid), client
    finally:
        process.kill()
        process.wait()
