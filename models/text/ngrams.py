"""The n-grams of a text, equal to those of scikit-learn's `TfidfVectorizer`, and their column numbers.

Words are runs of two or more letters, digits or underscores of any script. Character n-grams of `char_wb` do not cross
the spaces between words, and a word is padded with one space on either side; those of `char` are of the whole text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Unit = Literal["word", "char_wb", "char"]

WORD_PATTERN = r"(?u)\b\w\w+\b"

_TOKEN = re.compile(WORD_PATTERN)
_SPACES = re.compile(r"\s\s+")
# The columns of the n-grams in a word are computed once for a common word. Both limits bound the memory of that cache:
# 20,000 words of 32 characters have at most about 2 million columns in it.
_CACHED_WORDS = 20_000
_CACHED_WORD_CHARACTERS = 32


@dataclass(frozen=True, slots=True)
class NgramRange:
    """Which n-grams: of words or of characters, and of `shortest` to `longest` of them."""

    unit: Unit
    shortest: int
    longest: int


def normalize(text: str, *, strip_accents: bool, lowercase: bool = True) -> str:
    """Return `text` in lower case with `lowercase`, and without accents where `strip_accents` is set."""
    lowered = text.lower() if lowercase else text
    if not strip_accents or lowered.isascii():
        return lowered
    decomposed = unicodedata.normalize("NFKD", lowered)
    return "".join(character for character in decomposed if not unicodedata.combining(character))


class TermIndex:
    """The known n-grams of one range and their column numbers. Safe to use from several threads."""

    def __init__(
        self, ngrams: NgramRange, terms: Sequence[str], *, first_column: int = 0, stop_words: Iterable[str] = ()
    ) -> None:
        """`terms[i]` has the column `first_column + i`. N-grams of words leave out `stop_words`."""
        self._ngrams = ngrams
        self._stop_words = frozenset(stop_words)
        self._columns: Mapping[str, int] = {term: first_column + position for position, term in enumerate(terms)}
        self._columns_of_word = lru_cache(maxsize=_CACHED_WORDS)(self._columns_in_word)

    def columns(self, text: str) -> list[int]:
        """Return the column of each known n-gram of a normalized text, as often as it occurs, in no set order."""
        if self._ngrams.unit == "word":
            words: list[str] = _TOKEN.findall(text)
            if self._stop_words:
                words = [word for word in words if word not in self._stop_words]
            return self._known(self._word_ngrams(words))
        if self._ngrams.unit == "char":
            return self._known(self._text_ngrams(_SPACES.sub(" ", text)))
        columns: list[int] = []
        for word in text.split():
            is_cached = len(word) <= _CACHED_WORD_CHARACTERS
            columns += self._columns_of_word(word) if is_cached else self._columns_in_word(word)
        return columns

    def _known(self, ngrams: Iterable[str]) -> list[int]:
        return [column for column in map(self._columns.get, ngrams) if column is not None]

    def _word_ngrams(self, words: list[str]) -> Iterator[str]:
        for length in range(self._ngrams.shortest, self._ngrams.longest + 1):
            if length == 1:
                yield from words
            else:
                yield from map(" ".join, zip(*(words[start:] for start in range(length)), strict=False))

    def _text_ngrams(self, text: str) -> Iterator[str]:
        for length in range(self._ngrams.shortest, min(self._ngrams.longest, len(text)) + 1):
            yield from (text[start : start + length] for start in range(len(text) - length + 1))

    def _columns_in_word(self, word: str) -> tuple[int, ...]:
        return tuple(self._known(self._character_ngrams(f" {word} ")))

    def _character_ngrams(self, padded: str) -> Iterator[str]:
        for length in range(self._ngrams.shortest, self._ngrams.longest + 1):
            for start in range(max(1, len(padded) - length + 1)):
                yield padded[start : start + length]
            if len(padded) <= length:
                # A word that is shorter than the n-gram is its only n-gram, once.
                return
