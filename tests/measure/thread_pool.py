"""Measure an empty call in a thread, by `ThreadPool` and by the executor: `python -m tests.measure.thread_pool`"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import uvloop

from serving.concurrency import ThreadPool


def identity(argument: int) -> int:
    return argument


async def main(options: argparse.Namespace) -> None:
    """Print processor time and latency per call, medians over alternating rounds."""
    loop, threads, pool = asyncio.get_running_loop(), ThreadPool(1, name="own"), ThreadPoolExecutor(1)
    ways: dict[str, Callable[[], Awaitable[int]]] = {
        "serving.concurrency": lambda: threads.run(identity, 1),
        "run_in_executor": lambda: loop.run_in_executor(pool, identity, 1),
    }
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            results[name].append(await _time(way, options.calls))
    threads.close()
    pool.shutdown()
    for name, seen in results.items():
        cpu_us, p50_us = (statistics.median(each[index] for each in seen) for index in (0, 1))
        print(f"{name}  processor time {cpu_us:4.0f} us, p50 {p50_us:4.0f} us")


async def _time(way: Callable[[], Awaitable[int]], calls: int) -> tuple[float, float]:
    for _ in range(100):
        await way()
    began, took = time.process_time(), []
    for _ in range(calls):
        started = time.perf_counter()
        await way()
        took.append(time.perf_counter() - started)
    return 1e6 * (time.process_time() - began) / calls, 1e6 * statistics.median(took)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=3000)
    uvloop.run(main(parser.parse_args()))
