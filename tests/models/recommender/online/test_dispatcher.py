"""The recommender on a small library: strategies, rules, explanations, recent events."""

from __future__ import annotations

import pytest

from models.recommender.online.dispatcher import Dispatcher
from models.recommender.online.messages import Answer, ItemFilter, Query, Rules
from models.recommender.online.recent_events import RecentEvents
from tests.models.recommender import film_library
from tests.models.recommender.film_library import BARE, FEATURED, GENRES, ITEMS, NAMES, event, genres, seen


@pytest.fixture(scope="module")
def dispatcher() -> Dispatcher:
    return film_library.dispatcher()


def ask(dispatcher: Dispatcher, query: Query) -> Answer:
    return Answer.from_json(dispatcher.answer([query.to_json()])[0])


def ids(answer: Answer) -> list[int]:
    """Return the rows of the items: item "1" is row 0."""
    return [int(item.id) - 1 for item in answer.items]


def test_cold_start_goes_from_history_to_features_to_popular(dispatcher: Dispatcher) -> None:
    both = Query("new", history=("1", "5", "9"), user_features={"gender": "F"})
    assert ask(dispatcher, both).reason == "request_history"
    assert ask(dispatcher, Query("new", user_features={"gender": "F"})).reason == "segment"
    assert ask(dispatcher, Query(FEATURED)).reason == "segment"
    assert ask(dispatcher, Query("new")).reason == "unknown_user"
    assert ask(dispatcher, Query("new", history=("?",))).reason == "unknown_user"
    assert ask(dispatcher, Query("alice")).reason is None


def test_an_unknown_user_is_reported_with_any_model(dispatcher: Dispatcher) -> None:
    assert ask(dispatcher, Query("new", model="popular")).reason == "unknown_user"
    assert ask(dispatcher, Query("alice", model="popular")).reason is None
    assert ask(dispatcher, Query(FEATURED, model="popular")).reason is None


def test_a_missing_row_of_features_is_not_an_unknown_user(dispatcher: Dispatcher) -> None:
    assert (ask(dispatcher, Query(BARE)).reason, ask(dispatcher, Query(BARE)).features) == (
        "missing_features",
        "missing",
    )
    assert (ask(dispatcher, Query("new")).reason, ask(dispatcher, Query("new")).features) == ("unknown_user", None)
    assert ask(dispatcher, Query(FEATURED)).features == "found"


def test_a_segment_has_the_users_with_the_same_features(dispatcher: Dispatcher) -> None:
    # Users in even rows are women, who like comedies and horror.
    answer = ask(dispatcher, Query("new", n=20, user_features={"gender": "F"}, explain=True))
    assert {row % 2 for row in ids(answer)} == {0}
    assert {(each.causes[0].kind, each.causes[0].name) for each in answer.items} == {("segment", "gender=F")}
    # Only 20 users share both attributes, so that the segment has the rarer one.
    assert ask(dispatcher, Query("new", user_features={"gender": "F", "age": 20})).reason == "segment"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query("new", model="popular", history=("1",)), None),
        (
            Query("new", model="ease", user_features={"gender": "F"}),
            "cannot answer from user features; these can: popular",
        ),
        (Query("alice", model="user-knn", explain=True), "cannot explain its answers; these can: ease, item-knn"),
        (Query("new", model="user-knn", explain=True), "cannot explain its answers; these can: ease, item-knn"),
        (Query("alice", user_features={"height": 3}), "no user feature 'height'; known: gender, age"),
        (Query("new", history=("1",), user_features={"age": "old"}), "'age' must be a number"),
        (Query("alice", model="none"), "no model 'none' is served; known: ease, item-knn, user-knn, popular"),
        (Query("new", user_features={"height": 3}), "no user feature 'height'; known: gender, age"),
        (Query("new", user_features={"age": "old"}), "'age' must be a number"),
        (Query("alice", n=0), "n must be a whole number"),
    ],
)
def test_an_unsupported_query_lists_the_algorithms_that_support_it(
    dispatcher: Dispatcher, query: Query, expected: str | None
) -> None:
    answer = ask(dispatcher, query)
    if expected is None:
        assert answer.error is None
    else:
        assert expected in (answer.error or "")
        assert answer.error_kind == "invalid"
        assert answer.location


def test_explanations_name_items_of_the_user(dispatcher: Dispatcher) -> None:
    for item in ask(dispatcher, Query("alice", n=5, explain=True)).items:
        assert item.causes
        assert {cause.kind for cause in item.causes} == {"item"}
        assert {int(cause.name) - 1 for cause in item.causes} <= set(seen(0))
        assert [cause.weight for cause in item.causes] == sorted((c.weight for c in item.causes), reverse=True)
    assert ask(dispatcher, Query("new", n=1, explain=True)).items[0].causes[0].kind == "popularity"


def test_without_a_name_the_first_model_with_explanations_answers() -> None:
    silent = film_library.dispatcher(default="user-knn")
    assert ask(silent, Query("alice", n=1)).model == "user-knn"
    answer = ask(silent, Query("alice", n=1, explain=True))
    assert (answer.model, answer.items[0].causes[0].kind) == ("ease", "item")
    assert ask(silent, Query("new", n=1, explain=True)).items[0].causes[0].kind == "popularity"


def test_allow_and_deny_by_id_and_by_category(dispatcher: Dispatcher) -> None:
    allowed = ask(
        dispatcher,
        Query("alice", n=100, filter_seen=False, rules=Rules(allow=ItemFilter(("3", "nothing"), ("Drama",)))),
    )
    assert set(ids(allowed)) == {2, *(row for row in range(ITEMS) if "Drama" in genres(row))}
    denied = ask(dispatcher, Query("alice", n=200, filter_seen=False, rules=Rules(deny=ItemFilter(("3",), ("drama",)))))
    assert set(ids(denied)) == set(range(ITEMS)) - set(ids(allowed))
    both = Rules(allow=ItemFilter(("3", "4")), deny=ItemFilter(("4",)))
    assert ids(ask(dispatcher, Query("alice", filter_seen=False, rules=both))) == [2]
    assert ask(dispatcher, Query("alice", rules=Rules(categories=("nonsense",)))).items == ()


def test_categories_and_a_minimum_score_filter(dispatcher: Dispatcher) -> None:
    horror = ask(dispatcher, Query("alice", n=10, rules=Rules(categories=("Horror",))))
    assert all("Horror" in genres(row) for row in ids(horror))
    scores = [item.score for item in ask(dispatcher, Query("alice", n=10)).items]
    cut = ask(dispatcher, Query("alice", n=10, rules=Rules(min_score=scores[4])))
    assert [item.score for item in cut.items] == [score for score in scores if score >= scores[4]]


def test_a_minimum_score_may_be_any_number(dispatcher: Dispatcher) -> None:
    none, all_ = (ask(dispatcher, Query("alice", n=3, rules=Rules(min_score=score))) for score in (1e300, -1e300))
    assert (none.items, none.error, len(all_.items)) == ((), None, 3)


def test_caps_per_category(dispatcher: Dispatcher) -> None:
    each = ids(ask(dispatcher, Query("alice", n=8, filter_seen=False, rules=Rules(max_per_category=2))))
    for name in GENRES:
        assert sum(name in genres(row) for row in each) <= 2
    assert len(each) >= 6
    named = ids(ask(dispatcher, Query("alice", n=10, filter_seen=False, rules=Rules(category_caps={"COMEDY": 1}))))
    assert sum("Comedy" in genres(row) for row in named) == 1
    assert len(named) == 10


def test_diversity_increases_the_number_of_genres(dispatcher: Dispatcher) -> None:
    def kinds(diversity: float) -> int:
        answer = ask(dispatcher, Query("alice", n=8, filter_seen=False, rules=Rules(diversity=diversity)))
        return len({genres(row) for row in ids(answer)})

    assert kinds(0.0) <= kinds(0.5) <= kinds(1.0)
    assert kinds(1.0) > kinds(0.0)
    plain = ask(dispatcher, Query("alice", n=8, filter_seen=False))
    assert ids(ask(dispatcher, Query("alice", n=8, filter_seen=False, rules=Rules(diversity=1e-9)))) == ids(plain)


def test_queries_with_rules_are_unchanged_after_json() -> None:
    rules = Rules(ItemFilter(("1",)), ItemFilter((), ("x",)), ("y",), 0.5, -1.0, 2, {"z": 1})
    query = Query("u", 3, False, "ease", ("1",), {"a": 1}, rules, True)
    assert Query.from_json(query.to_json()) == query
    assert Query("u").to_json() == {"user_id": "u", "n": 10, "filter_seen": True}


def test_recommendations_use_recent_events() -> None:
    recent = RecentEvents()
    dispatcher = film_library.dispatcher(recent)
    best = ask(dispatcher, Query("alice", n=1)).items[0].id
    recent.add([event("alice", best), event("fresh", "4"), event("fresh", "8", time=2), event("bob", "2", "hide")])

    assert ask(dispatcher, Query("alice", n=200)).reason == "recent_events"
    assert best not in {item.id for item in ask(dispatcher, Query("alice", n=200)).items}
    fresh = ask(dispatcher, Query("fresh", n=3))
    assert fresh.reason == "recent_events"
    assert [row % 4 for row in ids(fresh)] == [3, 3, 3]
    assert "2" not in {item.id for item in ask(dispatcher, Query("bob", n=200, filter_seen=False)).items}
    profile = dispatcher.answer([{"ask": "user", "user_id": "fresh", "n": 2}])[0]["found"]
    assert [item["item_id"] for item in profile["top_items"]] == ["8", "4"]
    assert profile["similar_users"]


def test_disliked_items_are_not_causes() -> None:
    recent = RecentEvents()
    dispatcher = film_library.dispatcher(recent)
    # Alice likes comedies, the items 1, 5, 9, ...; after the dislikes her other items remain.
    comedies = [row for row in seen(0) if row % 4 == 0]
    others = {row for row in seen(0) if row % 4}
    recent.add([event("alice", str(row + 1), "dislike") for row in comedies])

    answer = ask(dispatcher, Query("alice", n=5, explain=True))
    assert answer.reason == "recent_events"
    assert {int(cause.name) - 1 for item in answer.items for cause in item.causes} <= others
    again = ask(dispatcher, Query("alice", n=5, history=(str(comedies[0] + 1),), explain=True))
    assert {int(cause.name) - 1 for item in again.items for cause in item.causes} <= {*others, comedies[0]}


def test_recent_events_count_once_per_user_in_popularity() -> None:
    recent = RecentEvents()
    dispatcher = film_library.dispatcher(recent)
    before = dispatcher.answer([{"ask": "item", "item_id": "10"}])[0]["found"]["interactions"]
    recent.add([event(f"x{number}", "10", time=film_library.NEWEST + 1) for number in range(100)])
    recent.add(
        [event("x1", "10", "view", time=film_library.NEWEST + 2), event("x2", "10", "dislike", film_library.NEWEST + 3)]
    )
    fan = next(name for row, name in enumerate(NAMES[: film_library.USERS]) if 9 in seen(row))
    recent.add([event(fan, "10", time=film_library.NEWEST + 1)])

    assert dispatcher.answer([{"ask": "item", "item_id": "10"}])[0]["found"]["interactions"] == before + 99
    popular = ask(dispatcher, Query("nobody", n=1, explain=True)).items[0]
    share = (before + 99) / (len(NAMES) + 99)
    assert (popular.id, popular.score, popular.causes[0].weight) == ("10", *[pytest.approx(share)] * 2)
    top = dispatcher.answer([{"ask": "top_items", "n": 1, "window_days": 1}])[0]["found"]["items"]
    assert (top[0]["item_id"], top[0]["interactions"]) == ("10", 99)


def test_an_invalid_request_does_not_affect_the_others(dispatcher: Dispatcher) -> None:
    answers = dispatcher.answer(
        [{"ask": "nonsense"}, {"user_id": "alice", "n": 1, "filter_seen": True}, {"ask": "item"}, {"x": 1}]
    )
    assert [answer.get("error_kind") for answer in answers] == ["invalid", None, "failed", "invalid"]
    assert len(answers[1]["items"]) == 1
