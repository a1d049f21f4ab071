"""N-grams are those of scikit-learn, for any text."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from models.text.ngrams import NgramRange, TermIndex, Unit, normalize

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)


def reference(text: str, ngrams: NgramRange, *, strip_accents: bool) -> list[str]:
    vectorizer = CountVectorizer(
        analyzer=ngrams.unit,
        ngram_range=(ngrams.shortest, ngrams.longest),
        strip_accents="unicode" if strip_accents else None,
    )
    terms: list[str] = vectorizer.build_analyzer()(text)
    return terms


@pytest.mark.parametrize("strip_accents", [False, True])
@pytest.mark.parametrize(
    ("unit", "shortest", "longest"),
    [("word", 1, 1), ("word", 1, 2), ("word", 2, 3), ("char_wb", 1, 3), ("char_wb", 2, 5), ("char_wb", 4, 4)],
)
@given(text=ANY_TEXT)
@example(text="")
@example(text=" \t\n ")
@example(text="ab ab a_b 3.14 I ß ẞ İstanbul ﬁne")
@example(text="Crème brûlée, naïve cafe\u0301 ΣΊΣΥΦΟΣ")
@example(text="🍕 👩‍👩‍👧 ☀️ 寿司が好き สวัสดี\u2003नमस्ते\x1cx\x85y")
@example(text="\ud800 half a pair")
@example(text="Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft 😀")
def test_the_ngrams_are_those_of_scikit_learn(
    unit: Unit, shortest: int, longest: int, strip_accents: bool, text: str
) -> None:
    ngrams = NgramRange(unit, shortest, longest)
    expected = Counter(reference(text, ngrams, strip_accents=strip_accents))
    terms = sorted(expected)
    columns = TermIndex(ngrams, terms, first_column=7).columns(normalize(text, strip_accents=strip_accents))
    assert Counter(terms[column - 7] for column in columns) == expected


def test_unknown_ngrams_have_no_column() -> None:
    index = TermIndex(NgramRange("word", 1, 2), ["rain", "rain today"])
    assert sorted(index.columns("rain today and tomorrow rain")) == [0, 0, 1]
    assert index.columns("nothing of that") == []
