from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.recommender.dataset import ids
from models.recommender.dataset.ids import IdIndex, StringArray


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True, max_size=30))
def test_known_ids_are_found_at_their_rows(known: list[str]) -> None:
    index = IdIndex.restore(IdIndex.of(known).arrays())
    assert [index.row(each) for each in known] == list(range(len(known)))
    assert [index[row] for row in range(len(index))] == known
    assert index.row("\x00 not among them") is None


def test_ids_with_the_same_hash_are_distinguished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_hash", lambda text: 7)
    index = IdIndex.of(["a", "b", "c"])
    assert [index.row(each) for each in ("a", "b", "c", "d")] == [0, 1, 2, None]


def test_a_lone_surrogate_is_unknown() -> None:
    assert IdIndex.of(["a"]).row("\ud800") is None


def test_duplicate_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="distinct"):
        IdIndex.of(["1", "1"])


def test_strings_may_be_empty_and_of_any_script() -> None:
    texts = StringArray.restore(StringArray.of(["", "幕の内", "Amélie"]).arrays())
    assert [texts[row] for row in range(3)] == ["", "幕の内", "Amélie"]
    assert texts.arrays()["ends"].dtype == np.int64
