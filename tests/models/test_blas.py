from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from models.blas import use_threads


@pytest.mark.parametrize("number", [1, 2])
def test_all_products_have_so_many_threads_from_then_on(number: int) -> None:
    assert np.dot([1.0], [1.0]) == 1  # a library of linear algebra is there
    with threadpool_limits(None, "blas"):
        use_threads(number)
        found = {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}
    assert found == {number}
