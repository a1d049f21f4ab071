"""How many threads the linear algebra of this process has (numpy's and scipy's OpenBLAS, or MKL). Knows no arrays."""

from __future__ import annotations

from contextlib import AbstractContextManager


def use_threads(number: int) -> AbstractContextManager[object]:
    """Have every product of matrices in this process computed by so many threads from now on; in `with`, until its end.

    The library starts one per core by itself. Those of one product wait for each other by spinning, on the cores that
    the gateway needs: on two cores with other work the best of 100,000 items take 130 ms with two threads, and 1.6 with
    one (`OPENBLAS_NUM_THREADS=1 python -m tests.measure.indexes --items 100000 --libraries exact`).
    """
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(number, "blas")
    return limits
