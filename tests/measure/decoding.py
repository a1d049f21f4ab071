"""Measure what a child process costs a small job: `python -m tests.measure.decoding`

Decodes a CSV file of 20 rows in this process and in a child of the fork server, and starts a new interpreter that
imports the same modules.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from models.card import Column
from serving.jobs.decoding.decode import decode
from serving.jobs.decoding.sandbox import Sandbox
from serving.jobs.decoding.task import CSV, UPLOAD, DecodeLimits, DecodeTask
from tests.measure.timing import median_ms

DECODER = "serving.jobs.decoding.table_uploads"


def main() -> None:
    """Print the milliseconds of each way, and the memory of the fork server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args().repeats
    sandbox = Sandbox([DECODER])
    with tempfile.TemporaryDirectory() as folder:

        def task() -> DecodeTask:
            (Path(folder) / UPLOAD).write_bytes(b"a,b\n" + b"1,2\n" * 20)
            columns = tuple(Column(name, "number") for name in "ab")
            return DecodeTask(f"{DECODER}:decode_table", CSV, Path(folder), DecodeLimits(), columns=columns)

        print(f"in this process                {median_ms(lambda: decode(task()), repeats):6.1f} ms")
        print(f"in a child of the fork server  {median_ms(lambda: sandbox.decode(task()), repeats):6.1f} ms")
    command = [sys.executable, "-s", "-c", f"import {DECODER}, serving.jobs.decoding.sandbox"]
    print(f"a new interpreter              {median_ms(lambda: subprocess.run(command, check=True), 5):6.1f} ms")
    (server,) = psutil.Process().children()
    print(f"memory of the fork server      {server.memory_full_info().uss >> 20:6} MiB")
    sandbox.close()


if __name__ == "__main__":
    main()
