"""Measure an unreached time limit, `task_timeout` and `asyncio.timeout`: `python -m tests.measure.time_limits`"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time

import uvloop

from serving.concurrency import task_timeout


async def main(options: argparse.Namespace) -> None:
    """Print nanoseconds per time limit, medians over alternating rounds."""
    own, theirs = [], []
    for _ in range(options.rounds):
        started = time.process_time()
        for _ in range(options.calls):
            with task_timeout(60):
                pass
        between = time.process_time()
        for _ in range(options.calls):
            async with asyncio.timeout(60):
                pass
        own.append(between - started)
        theirs.append(time.process_time() - between)
    for name, seen in (("task_timeout", own), ("asyncio.timeout", theirs)):
        print(f"{name:16} {1e9 * statistics.median(seen) / options.calls:5.0f} ns")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=20_000)
    uvloop.run(main(parser.parse_args()))
