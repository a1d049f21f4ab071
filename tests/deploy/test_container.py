"""The image, for real: built through `bentoml containerize`, run as it should be run, hurt, and stopped.

Takes minutes and needs a container engine, so it runs only when asked for: `make test-container`. Where no engine
answers the reason is the one of the skip.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from deploy.base import base_image
from deploy.engine import Engine, EngineMissing, find_engine
from deploy.image import Built, bento_manifest, build_image
from deploy.lock import ROOT, SERVING_LOCK, read_lock
from tests.deploy.calls import CAT, all_main_calls
from tests.deploy.conftest import BuiltBento
from tests.live.server import free_port
from training.packages import cache_folder

pytestmark = [
    pytest.mark.container,
    pytest.mark.skipif(not os.environ.get("TEST_CONTAINER"), reason="takes minutes; run: make test-container"),
]

_LIMIT_BYTES = 900_000_000
_START_S = 120.0
# Processes by what is after "--service-name" in their command lines, and a signal for one: run inside the container,
# which has no tools of its own.
_WORKERS = """
import json, os, sys
found = {}
for pid in filter(str.isdigit, os.listdir("/proc")):
    words = open(f"/proc/{pid}/cmdline").read().split("\\0")
    if "--service-name" in words:
        found[words[words.index("--service-name") + 1]] = int(pid)
if len(sys.argv) > 1:
    os.kill(found[sys.argv[1]], 9)
print(json.dumps(found))
"""


class Container:
    """One running container of the image."""

    def __init__(self, engine: Engine, image: str, *options: str) -> None:
        self.engine = engine
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.started = time.monotonic()
        self.name = engine.run(
            "run", "--detach", "--network=host", "--read-only", "--cap-drop=all",
            "--security-opt=no-new-privileges", "--memory=2g", "--pids-limit=512",
            "--tmpfs", "/data:rw,nosuid,nodev,noexec,size=256m", "--env", f"BENTOML_PORT={self.port}", *options, image,
        ).strip()  # fmt: skip

    def wait_ready(self) -> float:
        """Seconds from the start to the first 200 of `/readyz`."""
        while not self.is_ready():
            assert self.state()["Running"], self.log()
            assert time.monotonic() < self.started + _START_S, self.log()
            time.sleep(0.05)
        return time.monotonic() - self.started

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def python(self, source: str, *arguments: str) -> str:
        """Run Python in the container and return what it printed."""
        return self.engine.run("exec", self.name, "python", "-c", source, *arguments)

    def workers(self, kill: str | None = None) -> dict[str, int]:
        """Process ids by service; `kill` is a service whose process is killed."""
        found: dict[str, int] = json.loads(self.python(_WORKERS, *([kill] if kill else [])))
        return found

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.engine.run("inspect", "--format", "{{json .State}}", self.name))
        return state

    def log(self) -> str:
        return subprocess.run(
            [self.engine.name, "logs", self.name],
            env=self.engine.whole_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        ).stdout.decode()  # fmt: skip

    def remove(self) -> None:
        self.engine.run("rm", "--force", self.name)


@pytest.fixture(scope="module")
def engine() -> Engine:
    """An engine that can build and run, with a storage of its own under podman."""
    reasons = []
    for name in ("podman", "docker"):
        try:
            return find_engine(name, private=cache_folder() / "containers" if name == "podman" else None)
        except EngineMissing as error:
            reasons.append(str(error))
    pytest.skip("; ".join(reasons))


@pytest.fixture(scope="module")
def built(engine: Engine, bento: BuiltBento, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(bento.home))
        base = base_image(engine, "debian" if shutil.which("mmdebstrap") else "auto")
        result = build_image(engine, bento=bento.tag, base=base, variant="cpu", dist=tmp_path_factory.mktemp("dist"))
    yield result
    engine.run("rmi", "--force", result.image)


@pytest.fixture(scope="module")
def container(engine: Engine, built: Built) -> Iterator[Container]:
    """The container that the tests share."""
    running = Container(engine, built.image)
    try:
        seen = {"ready_s": round(running.wait_ready(), 1), "image_mb": round(built.size_bytes / 1e6)}
        reports = ROOT / "reports"
        reports.mkdir(exist_ok=True)
        (reports / "container.json").write_text(json.dumps(seen))
        yield running
    finally:
        running.remove()


def configuration(engine: Engine, image: str) -> dict[str, Any]:
    whole = json.loads(engine.run("image", "inspect", image))[0]
    # podman keeps the health check beside the rest.
    config: dict[str, Any] = {"Healthcheck": whole.get("Healthcheck"), **whole["Config"]}
    return config


def test_the_image_is_small_and_says_what_it_is(engine: Engine, built: Built, bento: BuiltBento) -> None:
    assert built.size_bytes < _LIMIT_BYTES
    config = configuration(engine, built.image)
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == "Makunouchi"
    assert labels["org.opencontainers.image.version"] == bento.tag.partition(":")[2]
    assert set(labels["makunouchi.models"].split(",")) == pinned(bento)
    assert config["User"] == "1034:1034"
    assert list(config["Volumes"]) == ["/data"]


def pinned(bento: BuiltBento) -> set[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(bento.home))
        return {model["tag"] for model in bento_manifest(bento.tag)["models"]}


def test_the_bill_of_materials_lists_what_is_in_it(built: Built, bento: BuiltBento) -> None:
    bill = json.loads(built.inventory.read_text())
    assert bill["bomFormat"] == "CycloneDX"
    urls = [component.get("purl", "") for component in bill["components"]]
    locked = {f"pkg:pypi/{pin.name}@{pin.version}" for pin in read_lock(SERVING_LOCK)}
    assert {url for url in urls if url.startswith("pkg:pypi/")} == locked
    assert any(url.startswith("pkg:deb/debian/libc6@") for url in urls)
    models = [part for part in bill["components"] if part["type"] == "machine-learning-model"]
    assert {f"{model['name']}:{model['version']}" for model in models} == pinned(bento)
    assert all(file["hashes"][0]["alg"] == "SHA-256" for model in models for file in model["components"])


def test_it_answers_all_main_calls_with_the_models_it_was_built_with(container: Container, bento: BuiltBento) -> None:
    assert {f"{name}:{version}" for name, version in all_main_calls(container.url).items()} == pinned(bento)


def test_it_runs_without_rights_and_writes_in_one_place(container: Container) -> None:
    status = container.python("print(open('/proc/1/status').read())")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["1034"] * 4
    assert int(fields["CapEff"], 16) == int(fields["CapPrm"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    refused = "import errno\ntry: open({path!r}, 'w')\nexcept OSError as error: print(errno.errorcode[error.errno])"
    for path in ("/home/bentoml/bento/src/service.py", "/usr/x", "/app/x"):
        assert container.python(refused.format(path=path)).strip() == "EROFS"
    assert container.python(refused.format(path="/data/x")).strip() == ""


def test_its_own_health_check_tells_ready_from_not(container: Container, engine: Engine, built: Built) -> None:
    check = configuration(engine, built.image)["Healthcheck"]
    kind, *command = check["Test"]
    assert kind == "CMD"
    engine.run("exec", container.name, *command)
    with pytest.raises(subprocess.CalledProcessError):
        engine.run("exec", "--env", f"BENTOML_PORT={free_port()}", container.name, *command)


@pytest.mark.parametrize("service", ["ImageRunner", "Gateway"])
def test_a_killed_process_comes_back(container: Container, service: str) -> None:
    before = container.workers(kill=service)[service]
    until = time.monotonic() + 60
    while container.workers().get(service) in (None, before) or not container.is_ready():
        assert time.monotonic() < until, container.log()
        time.sleep(0.2)
    assert all_main_calls(container.url)
    assert container.state()["Running"]


def test_it_runs_under_any_user(engine: Engine, built: Built) -> None:
    other = Container(engine, built.image, "--user=54321:0")
    try:
        other.wait_ready()
        assert all_main_calls(other.url)
    finally:
        other.remove()


def test_a_wrong_setting_ends_it_with_an_error(engine: Engine, built: Built) -> None:
    wrong = Container(engine, built.image, "--env", "MAKUNOUCHI_MAX_ROWS=none")
    try:
        until = time.monotonic() + _START_S
        while wrong.state()["Running"]:
            assert time.monotonic() < until
            time.sleep(0.2)
        assert wrong.state()["ExitCode"] == 1
        assert "error: setting MAKUNOUCHI_MAX_ROWS" in wrong.log()
    finally:
        wrong.remove()


def test_sigterm_lets_requests_in_flight_finish_and_ends_with_zero(engine: Engine, built: Built) -> None:
    stopped = Container(engine, built.image)
    answers: list[int] = []

    def classify() -> None:
        files = [("images", CAT.read_bytes())] * 32
        answers.append(httpx.post(f"{stopped.url}/v1/images/classify-batch", files=files, timeout=60).status_code)

    try:
        stopped.wait_ready()
        callers = [threading.Thread(target=classify) for _ in range(4)]
        for caller in callers:
            caller.start()
        # The requests are in the service, and each takes longer than this.
        time.sleep(0.3)
        in_flight = sum(caller.is_alive() for caller in callers)
        engine.run("stop", "--time", "40", stopped.name)
        for caller in callers:
            caller.join()
        assert in_flight > 0
        assert answers == [200] * 4
        assert stopped.state()["ExitCode"] == 0
    finally:
        stopped.remove()
