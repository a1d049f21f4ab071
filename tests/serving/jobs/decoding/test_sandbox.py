"""Decoding in a child process has the same results and errors, and only the child ends when it exceeds a limit."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pyarrow
import pyarrow.parquet
import pytest

from models.errors import InputError
from serving.errors.exceptions import FieldFault, JobsUnavailable
from serving.jobs.decoding import sandbox as sandbox_module
from serving.jobs.decoding.decode import decode
from serving.jobs.decoding.fork_server import ChildLimits
from serving.jobs.decoding.sandbox import Sandbox
from serving.jobs.decoding.task import PARQUET, DecodeLimits
from tests.serving.jobs.decoding.uploads import ROW, form, parquet
from tests.serving.jobs.job_fixtures import decode_task

pytestmark = pytest.mark.slow

LIMITS = ChildLimits(memory_bytes=1 << 30, file_bytes=1 << 20, cpu_s=10, wall_s=10)
ROOT = Path(__file__).parents[4]


def environment(_: bytes) -> bytes:
    return " ".join(os.environ).encode()


def spin(_: bytes) -> bytes:
    while True:
        pass


def process_id(payload: bytes) -> bytes:
    Path(payload.decode()).write_text(str(os.getpid()))
    return spin(b"")


def wait_for_file(path: Path) -> int:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with suppress(OSError, ValueError):
            return int(path.read_text())
        time.sleep(0.01)
    raise AssertionError(f"no file {path.name}")


@pytest.fixture
def own_sandbox() -> Iterator[Sandbox]:
    children = Sandbox()
    yield children
    children.close()


def test_a_child_process_returns_and_raises_the_same(tmp_path: Path, sandbox: Sandbox) -> None:
    data = parquet([ROW] * 3)
    here = decode(decode_task(tmp_path, data, PARQUET))
    assert sandbox.decode(decode_task(tmp_path, data, PARQUET)) == here

    with pytest.raises(FieldFault, match="file part") as refused:
        sandbox.decode(decode_task(tmp_path, *form(('name="file"', "", b"x"))))
    assert refused.value.location == ("body", "file")
    assert refused.value.value_type == "string"


def test_an_upload_that_needs_too_much_memory_ends_only_the_child(tmp_path: Path, sandbox: Sandbox) -> None:
    # A small file with hundreds of megabytes of text.
    column = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 64, pyarrow.int32()), ["x" * (4 << 20)])
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(
        pyarrow.table({"age": [1] * 64, "sex": column.cast(pyarrow.string())}), buffer, compression="zstd"
    )
    limits = DecodeLimits(max_memory_bytes=400 << 20)
    assert sandbox.decode(decode_task(tmp_path, parquet([ROW]), PARQUET, limits=limits)).total == 1

    with pytest.raises(InputError):
        sandbox.decode(decode_task(tmp_path, buffer.getvalue(), PARQUET, limits=limits))
    assert sandbox.decode(decode_task(tmp_path, parquet([ROW]), PARQUET, limits=limits)).total == 1


def test_small_uploads_get_less_memory_and_time_than_large_ones() -> None:
    limits = DecodeLimits(max_memory_bytes=1 << 30)
    small, large = limits.for_upload(1000), limits.for_upload(256 << 20)
    assert (small.max_memory_bytes, small.cpu_s) == ((768 << 20) + 4000, 60)
    assert (large.max_memory_bytes, large.cpu_s) == (limits.max_memory_bytes, 300)


def test_a_child_that_exceeds_its_time_is_ended_and_the_next_one_works(sandbox: Sandbox) -> None:
    for limits in (
        ChildLimits(memory_bytes=1 << 30, file_bytes=1, cpu_s=1, wall_s=60),
        ChildLimits(memory_bytes=1 << 30, file_bytes=1, cpu_s=60, wall_s=1),
    ):
        begun = time.monotonic()
        assert sandbox.call(f"{__name__}:spin", b"", limits) is None
        assert time.monotonic() - begun < 50
    assert sandbox.call(f"{__name__}:environment", b"", LIMITS) is not None


def test_children_do_not_inherit_the_environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKUNOUCHI_API_KEYS", "secret")
    names = (sandbox.call(f"{__name__}:environment", b"", LIMITS) or b"").split()
    assert b"PATH" in names
    assert b"MAKUNOUCHI_API_KEYS" not in names


def test_children_run_at_the_same_time(tmp_path: Path, sandbox: Sandbox) -> None:
    limits = ChildLimits(memory_bytes=1 << 30, file_bytes=1 << 20, cpu_s=60, wall_s=60)
    path = tmp_path / "pid"
    thread = threading.Thread(target=sandbox.call, args=(f"{__name__}:process_id", str(path).encode(), limits))
    thread.start()
    child = wait_for_file(path)
    assert sandbox.call(f"{__name__}:environment", b"", LIMITS) is not None
    assert thread.is_alive()
    os.kill(child, signal.SIGKILL)
    thread.join()


def test_a_fork_server_that_was_killed_is_started_again(own_sandbox: Sandbox) -> None:
    for _ in range(2):
        assert own_sandbox.call(f"{__name__}:environment", b"", LIMITS) is not None
        server = max(psutil.Process().children(), key=lambda process: process.create_time())
        assert "serving.jobs.decoding.fork_server" in server.cmdline()
        server.kill()
        while server.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)


def test_a_fork_server_that_cannot_start_makes_jobs_unavailable(
    own_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sandbox_module, "_ROOT", tmp_path)
    with pytest.raises(JobsUnavailable, match="see the log"):
        own_sandbox.call(f"{__name__}:environment", b"", LIMITS)


def test_the_child_of_a_gateway_that_was_killed_ends(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    gateway = (
        "from serving.jobs.decoding.sandbox import Sandbox\n"
        "from serving.jobs.decoding.fork_server import ChildLimits\n"
        f"Sandbox().call('{__name__}:process_id', b'{path}', ChildLimits(1 << 30, 1 << 20, 60, 60))\n"
    )
    with subprocess.Popen([sys.executable, "-c", gateway], cwd=ROOT) as process:
        child = psutil.Process(wait_for_file(path))
        server = child.parent()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    for each in (child, server):
        each.wait(timeout=60)
