"""The number of BLAS threads of this process (OpenBLAS of numpy and scipy, or MKL)."""

from __future__ import annotations

from contextlib import AbstractContextManager


def use_threads(number: int) -> AbstractContextManager[object]:
    """Limit BLAS to `number` threads in the whole process. As a context manager, restore the previous limit at the end.

    By default BLAS starts one thread per core. Its threads wait for each other by spinning on cores that the gateway
    needs: on two busy cores the top 10 of 100,000 items take 130 ms with two threads and 1.6 ms with one
    (`OPENBLAS_NUM_THREADS=1 python -m tests.measure.indexes --items 100000 --libraries exact`).
    """
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(number, "blas")
    return limits
