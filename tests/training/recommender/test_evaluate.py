"""Tests of the comparison of algorithms."""

from __future__ import annotations

import json

import pytest

from models.errors import DataInvalid
from training.recommender.evaluate import Params, main

pytestmark = pytest.mark.slow


def test_the_published_figures_of_popularity_and_ease_come_out(capsys: pytest.CaptureFixture[str]) -> None:
    means = main(Params(algorithms=("popular", "ease"), seed=7, seeds=2, slices=True, json=True))
    assert means["popular"]["ndcg@10"] == pytest.approx(0.250, abs=0.01)
    assert means["ease"]["ndcg@10"] == pytest.approx(0.480, abs=0.015)
    assert means["ease"]["map@10"] == pytest.approx(0.147, abs=0.01)
    printed = capsys.readouterr().out
    assert "| users=heavy |" in printed
    last = json.loads(printed.splitlines()[-1])
    assert last["ease"]["ndcg@10"] == pytest.approx(means["ease"]["ndcg@10"], abs=1e-5)


def test_hyperparameters_can_be_set() -> None:
    usual = main(Params(algorithms=("ease",), seed=7, seeds=1))
    changed = main(Params(algorithms=("ease",), seed=7, seeds=1, set=("ease.l2=3000",)))
    assert changed["ease"]["ndcg@10"] < usual["ease"]["ndcg@10"]


def test_wrong_options_say_what_is_wrong() -> None:
    with pytest.raises(DataInvalid, match="no algorithm 'magic'"):
        main(Params(algorithms=("magic",), seeds=1))
    with pytest.raises(DataInvalid, match="'als' is not among --algorithms ease"):
        main(Params(algorithms=("ease",), seeds=1, set=("als.factors=3",)))
    with pytest.raises(DataInvalid, match="--seeds must be at least 1"):
        main(Params(seeds=0))
