"""Training on tables of random content ends with an artifact, or with one sentence."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from models.errors import PlatformError
from training.tabular.params import Params
from training.tabular.train import train

pytestmark = pytest.mark.slow

WORDS = [
    "red", "green", "NA", "?", "-", "yes", "no", "1,234", "5%", "$7", "2023-01-31", "31.12.2023", "0123",
    "99999999999999999999", "é", "\u202f1", "'x", '"q"', "inf", "nan", "1e400", "", " ",
]  # fmt: skip

Make = Callable[[random.Random, int], list[object]]
COLUMNS: tuple[Make, ...] = (
    lambda r, n: [r.choice(WORDS) for _ in range(n)],
    lambda r, n: [r.gauss(0, 10.0 ** r.randrange(-8, 30)) for _ in range(n)],
    lambda r, n: [r.randrange(-(2**60), 2**60) for _ in range(n)],
    lambda r, n: [None] * (n - 1) + [3.5],
    lambda r, n: [r.choice([True, False, None]) for _ in range(n)],
    lambda r, n: [f"{r.randrange(1, 29):02}/{r.randrange(1, 13):02}/20{r.randrange(10, 30)}" for _ in range(n)],
    lambda r, n: [" ".join(r.choice(WORDS) for _ in range(r.randrange(9))) for _ in range(n)],
    lambda r, n: [f"{r.randrange(10**5):,}" for _ in range(n)],
    lambda r, n: [f"shop {r.randrange(n // 4)}" for _ in range(n)],
    lambda r, n: list(range(n)),
    lambda r, n: [7] * n,
    lambda r, n: [str(10 ** r.randrange(30)) for _ in range(n)],
    lambda r, n: list(pd.date_range("1700-01-01", periods=n, freq="97D")),
    lambda r, n: [r.choice(["a" * 400, "b"]) for _ in range(n)],
)
TARGETS: tuple[Make, ...] = (
    lambda r, n: [r.choice("ab") for _ in range(n)],
    lambda r, n: [r.gauss(1e6, 1) for _ in range(n)],
    lambda r, n: r.choice(COLUMNS)(r, n),
    lambda r, n: ["rare"] * 11 + ["common"] * (n - 11),
)


@pytest.mark.parametrize("seed", range(24))
def test_any_table_ends_in_an_artifact_or_in_one_sentence(seed: int, tmp_path: Path) -> None:
    r = random.Random(seed)  # noqa: S311  (test data)
    rows = r.choice([60, 90, 200])
    columns = {f"column {place}": pd.Series(r.choice(COLUMNS)(r, rows)) for place in range(r.randrange(1, 6))}
    frame = pd.DataFrame({**columns, "y": pd.Series(TARGETS[seed % len(TARGETS)](r, rows))})
    path = tmp_path / f"table.{'parquet' if seed % 3 == 0 else 'csv'}"
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep=r.choice(",;\t|"))
    options = Params(data=path, target="y", folds=2, test_share=r.choice([0.05, 0.2, 0.5]))
    reason = "nothing"
    try:
        train(options, store=tmp_path / "models")
    except PlatformError as error:
        reason = str(error)
    assert reason
    assert "\n" not in reason
    assert str(tmp_path) not in reason
