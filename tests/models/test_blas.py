from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from models.blas import use_threads


@pytest.mark.parametrize("number", [1, 2])
def test_blas_uses_the_given_number_of_threads(number: int) -> None:
    assert np.dot([1.0], [1.0]) == 1  # loads BLAS
    with threadpool_limits(None, "blas"):
        use_threads(number)
        threads = {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}
    assert threads == {number}
