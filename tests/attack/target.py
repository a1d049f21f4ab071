"""The service under attack: `bentoml serve` with the default models, in production settings, and its restarts."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from serving.access.api_keys import hash_of
from tests.attack.probe import Probe, probing
from tests.live.server import Server, free_port, serving
from tests.serving.access.credentials import AUDIENCE, ISSUER, Signer, write_key_set

# Two callers with the same role, and one for each other role.
CALLERS = {"bystander": "predict", "attacker": "predict", "reader": "read", "operator": "admin"}
KEYS = {name: f"mk_the-key-of-the-{name}-of-the-attacks" for name in CALLERS}
KEY_LINES = "\n".join(f"{name}:{role}:{hash_of(KEYS[name])}" for name, role in CALLERS.items()) + "\n"
BODY_TIMEOUT_S = 5.0
GRACE_S = 2.0
GUESSES = 20
STOP_LIMIT_S = 20.0
REQUEST_S = 90.0
PRODUCTION = {
    "MAKUNOUCHI_ENVIRONMENT": "production",
    "MAKUNOUCHI_BODY_TIMEOUT_S": str(BODY_TIMEOUT_S),
    "MAKUNOUCHI_SHUTDOWN_GRACE_S": str(GRACE_S),
    "MAKUNOUCHI_JOB_LEASE_S": "2",
    "MAKUNOUCHI_MAX_WEBSOCKETS": "40",
    "MAKUNOUCHI_JOB_MAX_PER_CALLER": "5000",
    # The limits that are on by default in production would answer most attacks. One of them stays, for guesses.
    "MAKUNOUCHI_RATE_LIMIT_PREDICT": "0",
    "MAKUNOUCHI_RATE_LIMIT_READ": "0",
    "MAKUNOUCHI_RATE_LIMIT_ADMIN": str(GUESSES),
}

REDIS_SOCKET = "redis.sock"
# A second server, for scenarios that need other settings: a small disk, a Redis, images by URL.
SECOND_SERVER = {
    "MAKUNOUCHI_JOB_MAX_BYTES": str(8 << 20),
    "MAKUNOUCHI_JOB_MAX_DISK_BYTES": str(16 << 20),
    "MAKUNOUCHI_REDIS_URL": "unix://{folder}/" + REDIS_SOCKET,
    "MAKUNOUCHI_CACHE_BYTES": str(16 << 20),
    "MAKUNOUCHI_CACHE_STORE": "redis",
    "MAKUNOUCHI_RATE_LIMIT_STORE": "redis",
    "MAKUNOUCHI_RATE_LIMIT_PREDICT": "100000",
    "MAKUNOUCHI_IMAGE_URL_HOSTS": '["127.0.0.1"]',
    "MAKUNOUCHI_IMAGE_URL_NETWORKS": '["127.0.0.0/8"]',
}


class Target:
    """A running service with its folder of state. `root` is the source tree that is served, `models` the model store.

    `server` changes at each restart; the port and the state do not.
    """

    server: Server
    probe: Probe

    def __init__(self, folder: Path, *, root: Path, models: Path, env: Mapping[str, str]) -> None:
        self.folder, self.root = folder, root
        self.state = folder / "state"
        self.keys_file = folder / "keys"
        self.signer = Signer()
        self.samples = folder / "samples.jsonl"
        self.port = free_port()
        self._stack = contextlib.ExitStack()
        self.keys_file.write_text(KEY_LINES)
        home = folder / "home"
        home.mkdir()
        self.feedback_file.parent.mkdir()
        (home / "models").symlink_to(models.resolve())
        self.environment = {
            "BENTOML_HOME": str(home),
            "PYTHONPATH": str(root),
            "MAKUNOUCHI_API_KEYS_FILE": str(self.keys_file),
            "MAKUNOUCHI_JWT_ISSUER": ISSUER,
            "MAKUNOUCHI_JWT_AUDIENCE": AUDIENCE,
            "MAKUNOUCHI_JWT_JWKS": write_key_set(folder / "jwks.json", self.signer),
            "MAKUNOUCHI_STATE_FOLDER": str(self.state),
            "MAKUNOUCHI_FEEDBACK_URL": f"sqlite:///{self.feedback_file}",
            **PRODUCTION,
            **{name: value.format(folder=folder) for name, value in env.items()},
        }

    @property
    def feedback_file(self) -> Path:
        return self.folder / "feedback" / "feedback.db"

    @property
    def jobs_file(self) -> Path:
        return self.state / "jobs" / "jobs.db"

    def start(self) -> float:
        """Start the service and its probe, wait until it is ready, and return the time that this took."""
        started_s = time.monotonic()
        self.server = self._stack.enter_context(
            serving("service:Gateway", folder=self.root, env=self.environment, port=self.port)
        )
        self.probe = self._stack.enter_context(probing(self.port, self.server.process.pid, self.samples))
        return time.monotonic() - started_s

    def stop(self) -> tuple[int | None, float]:
        """Send SIGTERM. Return the exit status, None after STOP_LIMIT_S, and the time that this took."""
        self.probe.end()
        started_s = time.monotonic()
        self.server.process.send_signal(signal.SIGTERM)
        status: int | None = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self.server.process.wait(STOP_LIMIT_S)
        took_s = time.monotonic() - started_s
        self.close()
        return status, took_s

    def kill(self) -> None:
        """Kill all processes with SIGKILL."""
        self.close()

    def close(self) -> None:
        """End the probe, and kill every process of the service."""
        self._stack.close()

    def worker_pid(self, service: str) -> int:
        """Return the process of a runner or of the gateway."""
        return int(self.server.worker(service).pid)

    def send(
        self,
        method: str,
        path: str,
        *,
        caller: str | None = "attacker",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = REQUEST_S,
        address: str = "127.0.0.1",
        **options: Any,  # Any: options of httpx
    ) -> httpx.Response:
        """Send a request with the key of `caller` over a new connection from `address` of the loopback network."""
        key = {"X-API-Key": KEYS[caller]} if caller is not None else {}
        all_headers = {**key, **(headers or {})}
        transport = httpx.HTTPTransport(local_address=address)
        with httpx.Client(base_url=self.server.url, transport=transport, timeout=timeout_s) as client:
            return client.request(method, path, headers=all_headers, **options)


@contextlib.contextmanager
def attacked(env: Mapping[str, str], *, root: Path, models: Path) -> Iterator[Target]:
    """Run a service with `env` added to the production settings, in a new folder."""
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        target = Target(Path(folder), root=root, models=models, env=env)
        try:
            target.start()
            yield target
        finally:
            target.close()
