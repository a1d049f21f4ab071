"""The bounds of a runner's process: variables of threads, processors, and the memory that counts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from serving.process.bounds import RunnerBounds, unavailable_cpus
from serving.process.memory import private_bytes

ROOT = Path(__file__).parent.parent.parent.parent


def test_without_a_bound_the_environment_is_unchanged() -> None:
    assert RunnerBounds().environment() == {}
    environment = RunnerBounds(threads=2).environment()
    assert set(environment.values()) == {"2"}
    assert {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"} <= environment.keys()


def test_processors_apply_to_threads_that_have_started() -> None:
    program = """
import os, threading
from serving.process.bounds import RunnerBounds
threading.Thread(target=threading.Event().wait, daemon=True).start()
RunnerBounds().set_cpus()
cpu = min(os.sched_getaffinity(0))
RunnerBounds(cpus=(cpu,)).set_cpus()
threads = os.listdir("/proc/self/task")
assert len(threads) == 2
assert all(os.sched_getaffinity(int(each)) == {cpu} for each in threads)
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_processors_of_other_machines_are_found() -> None:
    assert unavailable_cpus(tuple(os.sched_getaffinity(0))) == ()
    assert unavailable_cpus((0, 9999)) in ((9999,), (0, 9999))


def test_mapped_files_are_not_private_memory(tmp_path: Path) -> None:
    size = 64 << 20
    (tmp_path / "weights").write_bytes(bytes(size))
    program = f"""
import mmap, sys
from serving.process.memory import private_bytes
import os
before = private_bytes(os.getpid())
with open({str(tmp_path / "weights")!r}, "rb") as file:
    weights = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
sum(weights[::4096])
assert private_bytes(os.getpid()) - before < {size // 4}
own = bytearray(b"1") * {size}
assert private_bytes(os.getpid()) - before > {size * 3 // 4}
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_a_process_that_has_ended_uses_nothing() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert private_bytes(ended.pid) == 0
