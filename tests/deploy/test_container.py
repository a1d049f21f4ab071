"""The real image: built through `bentoml containerize`, run as recommended, with processes killed, and stopped.

These tests take minutes and need a container engine: `make test-container` runs them. Where no engine answers they are
skipped with the reason.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.base import IMAGE_PYTHON, base_image
from deploy.engine import Engine, EngineMissing, find_engine
from deploy.image import Built, bento_manifest, build_image
from deploy.lock import ROOT, SERVING_LOCK, read_lock
from models.store.bento_models import pinned_tags
from models.store.manifest import MANIFEST_FILE, file_sha256
from tests.deploy.calls import CAT, all_main_calls
from tests.deploy.conftest import BuiltBento
from tests.deploy.container import START_S, Container, try_out
from tests.live.server import free_port, wait_for
from training.packages import cache_folder

pytestmark = [
    pytest.mark.container,
    pytest.mark.skipif(
        not os.environ.get("TEST_CONTAINER"),
        reason=os.environ.get("TEST_CONTAINER_NOT") or "takes minutes; run: make test-container",
    ),
]

_LIMIT_BYTES = 900_000_000


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An engine that can build and run; podman with a private storage."""
    reasons = []
    for name in ("podman", "docker"):
        try:
            candidate = find_engine(name, private=cache_folder() / "containers" if name == "podman" else None)
            try_out(candidate, tmp_path_factory.mktemp("try"))
        except EngineMissing as error:
            reasons.append(str(error))
        except subprocess.CalledProcessError as error:
            reasons.append(f"{name} cannot run a container here (exit status {error.returncode})")
        else:
            return candidate
    pytest.skip("; ".join(reasons))


@pytest.fixture(scope="module")
def base(engine: Engine) -> str:
    """The base from Debian's packages, which is the measured one, or the registry's where it cannot be made."""
    try:
        return base_image(engine, "debian" if shutil.which("mmdebstrap") else "auto")
    except (EngineMissing, subprocess.CalledProcessError) as error:
        pytest.skip(f"no base image can be had: {error}")


@pytest.fixture(scope="module")
def built(engine: Engine, base: str, bento: BuiltBento, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(bento.home))
        result = build_image(engine, bento=bento.tag, base=base, variant="cpu", dist=tmp_path_factory.mktemp("dist"))
    yield result
    engine.run("rmi", "--force", result.image)


@pytest.fixture(scope="module")
def container(engine: Engine, built: Built) -> Iterator[Container]:
    """The container that several tests use."""
    running = Container(engine, built.image)
    try:
        report = {"ready_s": round(running.wait_ready(), 1), "image_mb": round(built.size_bytes / 1e6)}
        reports = ROOT / "reports"
        reports.mkdir(exist_ok=True)
        (reports / "container.json").write_text(json.dumps(report))
        yield running
    finally:
        running.remove()


def configuration(engine: Engine, image: str) -> dict[str, Any]:
    whole = json.loads(engine.run("image", "inspect", image))[0]
    # podman has the health check outside of the configuration.
    config: dict[str, Any] = {"Healthcheck": whole.get("Healthcheck"), **whole["Config"]}
    return config


def test_the_image_is_small_and_labelled(engine: Engine, built: Built, bento: BuiltBento) -> None:
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
        return set(pinned_tags(bento_manifest(bento.tag)))


def test_the_bill_of_materials_lists_what_is_in_it(built: Built, bento: BuiltBento) -> None:
    bill = json.loads(built.inventory.read_text())
    assert bill["bomFormat"] == "CycloneDX"
    urls = [component.get("purl", "") for component in bill["components"]]
    pins = [pin for pin in read_lock(SERVING_LOCK) if pin.applies_to(f"{IMAGE_PYTHON}.0")]
    locked = {f"pkg:pypi/{pin.name}@{pin.version}" for pin in pins}
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


def test_its_health_check_distinguishes_ready_from_not_ready(
    container: Container, engine: Engine, built: Built
) -> None:
    check = configuration(engine, built.image)["Healthcheck"]
    kind, *command = check["Test"]
    assert kind == "CMD"
    engine.run("exec", container.name, *command)
    with pytest.raises(subprocess.CalledProcessError):
        engine.run("exec", "--env", f"BENTOML_PORT={free_port()}", container.name, *command)


@pytest.mark.parametrize("service", ["ImageRunner", "Gateway"])
def test_a_killed_process_comes_back(container: Container, service: str) -> None:
    before = container.workers(kill=service)[service]
    wait_for(lambda: container.workers().get(service) not in (None, before), f"another {service}")
    # The gateway may not have noticed the loss yet and report ready.
    wait_for(lambda: classifies(container), "a response of the new one")
    wait_for(container.is_ready, "ready")
    assert all_main_calls(container.url)
    assert container.state()["Running"]


def classifies(container: Container) -> bool:
    try:
        files = {"image": CAT.read_bytes()}
        return httpx.post(f"{container.url}/v1/images/classify", files=files, timeout=60).status_code == 200
    except httpx.TransportError:
        return False


def test_it_runs_under_any_user(engine: Engine, built: Built) -> None:
    other = Container(engine, built.image, "--user=54321:0")
    try:
        other.wait_ready()
        assert all_main_calls(other.url)
    finally:
        other.remove()


def test_the_command_of_the_readme_serves_and_prints_what_is_shown(engine: Engine, built: Built) -> None:
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (block,) = (block for block in blocks if "$ podman" in block)
    (shown,) = re.findall(r"^\$ podman (run .*)$", block, re.MULTILINE)
    _, *options, image = shown.split()
    assert image == "localhost/makunouchi:latest"
    # The test uses the network of the machine, where port 3000 may be in use.
    at = options.index("--publish")
    del options[at : at + 2]
    running = Container(engine, built.image, rights=options)
    try:
        running.wait_ready()
        assert all_main_calls(running.url)
        (line,) = re.findall(r"^\.\.\. (Starting .*)$", block, re.MULTILINE)
        assert line.replace(":3000", f":{running.port}") in running.log()
    finally:
        running.remove()


def test_a_wrong_setting_ends_it_with_an_error(engine: Engine, built: Built) -> None:
    wrong = Container(engine, built.image, "--env", "MAKUNOUCHI_MAX_ROWS=none")
    try:
        wait_for(lambda: not wrong.state()["Running"], "the container has ended", timeout_s=START_S)
        assert wrong.state()["ExitCode"] == 1
        assert "error: setting MAKUNOUCHI_MAX_ROWS" in wrong.log()
    finally:
        wrong.remove()


def test_altered_weights_end_it_with_an_error(engine: Engine, built: Built, bento: BuiltBento, tmp_path: Path) -> None:
    tag, options = invalid_weights(bento, tmp_path, is_listed=False)
    broken = Container(engine, built.image, *options)
    try:
        wait_for(lambda: not broken.state()["Running"], "the container has ended", timeout_s=START_S)
        assert broken.state()["ExitCode"] == 1
        fault = f"file 'model.onnx' of artifact '{tag}' was altered: its SHA-256 differs from the manifest"
        assert f"error: {fault}" in broken.log()
    finally:
        broken.remove()


def test_a_model_that_was_saved_invalid_is_named_and_the_others_answer(
    engine: Engine, built: Built, bento: BuiltBento, tmp_path: Path
) -> None:
    tag, options = invalid_weights(bento, tmp_path, is_listed=True)
    broken = Container(engine, built.image, *options)
    try:
        wait_for(lambda: classifies(broken), "a class of an image", timeout_s=START_S)
        wait_for(lambda: f"model.onnx of artifact '{tag}' cannot be loaded" in broken.log(), "the reason in the log")
        ready = httpx.get(f"{broken.url}/readyz", timeout=60)
        assert (ready.status_code, ready.json()["detail"]) == (503, "not ready: tabular")
        assert "/home/bentoml" not in ready.text
    finally:
        broken.remove()


def invalid_weights(bento: BuiltBento, tmp_path: Path, *, is_listed: bool) -> tuple[str, tuple[str, str]]:
    """Return the tag of a table, and the options that replace its weights by zeros.

    `is_listed`: its manifest has the hash of the zeros.
    """
    (tag,) = (tag for tag in pinned(bento) if tag.startswith("tabular:"))
    place = Path("models", *tag.split(":"))
    wrong = tmp_path / "wrong"
    shutil.copytree(bento.home / place, wrong)
    weights, manifest = wrong / "model.onnx", wrong / MANIFEST_FILE
    size_bytes = weights.stat().st_size
    weights.write_bytes(bytes(size_bytes))
    if is_listed:
        listed = json.loads(manifest.read_bytes())
        listed["files"]["model.onnx"] = [size_bytes, file_sha256(weights)]
        manifest.write_text(json.dumps(listed))
    return tag, ("--volume", f"{wrong}:/home/bentoml/bento/{place}:ro")


def test_sigterm_lets_a_request_in_flight_finish_refuses_new_ones_and_ends_with_zero(
    engine: Engine, built: Built
) -> None:
    """The body of the request in flight is incomplete, so the request lasts as long as the test needs."""
    stopped = Container(engine, built.image)
    request = httpx.Request("POST", stopped.url, files={"image": CAT.read_bytes()})
    body = request.read()
    head = (
        "POST /v1/images/classify HTTP/1.1", "Host: localhost", f"Content-Type: {request.headers['Content-Type']}",
        f"Content-Length: {len(body)}", "Expect: 100-continue", "Connection: close",
    )  # fmt: skip
    try:
        stopped.wait_ready()
        with socket.create_connection(("127.0.0.1", stopped.port), timeout=60) as connection:
            connection.sendall("\r\n".join((*head, "", "")).encode())
            # Sent when the application reads the body: it has the request.
            assert connection.recv(4096).startswith(b"HTTP/1.1 100")
            stopping = threading.Thread(target=engine.run, args=("stop", "--time", "40", stopped.name))
            stopping.start()
            wait_for(lambda: is_refused(stopped), "new requests are refused")
            connection.sendall(body)
            with connection.makefile("rb") as response:
                assert response.readline() == b"HTTP/1.1 200 OK\r\n"
                assert b'"predictions"' in response.read()
        stopping.join()
        assert stopped.state()["ExitCode"] == 0
    finally:
        stopped.remove()


def is_refused(container: Container) -> bool:
    try:
        return httpx.get(f"{container.url}/v1/models", timeout=60).status_code == 503
    except httpx.TransportError:
        return True
