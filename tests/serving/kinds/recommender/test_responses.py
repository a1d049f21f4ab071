from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import PredictionFailed
from models.recommender.online.messages import Answer, ScoredItem
from serving.kinds.recommender.responses import Recommendation, check
from serving.kinds.recommender.schemas import RecommendOptions
from serving.runners.interface import ModelRef

WORDS = st.text(st.characters(codec="utf-8"), max_size=12)
SCORES = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.lists(st.tuples(WORDS, WORDS, SCORES).map(lambda each: ScoredItem(*each)), max_size=4),
    WORDS,
    WORDS,
    st.sampled_from([None, "segment", "unknown_user"]),
    st.floats(0, 1e9),
)
def test_json_of_a_recommendation_matches_its_schema(
    items: list[ScoredItem], user_id: str, algorithm: str, reason: str | None, inference_time_ms: float
) -> None:
    answer = Answer(tuple(items), algorithm, reason)  # type: ignore[arg-type]  # one of the reasons
    model = ModelRef("recommender", "v")
    recommendation = Recommendation(user_id, answer, model, inference_time_ms)
    by_schema = recommendation.to_response()
    assert recommendation.to_json() == by_schema.__pydantic_serializer__.to_json(by_schema)


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_non_finite_score_is_an_error(score: float) -> None:
    with pytest.raises(PredictionFailed):
        check(Answer((ScoredItem("1", "", score),), "ease"), "u", RecommendOptions())
