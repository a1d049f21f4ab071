"""Tests of the progress of several fits."""

from __future__ import annotations

from models.recommender.ranking.progress import StepCounter
from tests.models.recommender.checkerboard import checkerboard, make


def test_the_fits_add_up() -> None:
    seen: list[tuple[int, int]] = []
    steps = StepCounter(lambda done, total: seen.append((done, total)), 2)
    first, second = steps.of_one(), steps.of_one()
    first(1, 2)
    second(5, 5)
    first(2, 2)
    assert seen == [(50, 200), (150, 200), (200, 200)]


def test_a_two_level_model_reports_each_epoch_of_its_retrievers_and_ends_at_the_total() -> None:
    seen: list[tuple[int, int]] = []
    model = make("two-level", retrievers=("lightfm-warp",))
    model.fit(checkerboard(), progress=lambda done, total: seen.append((done, total)))
    assert len(seen) > 20
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]
