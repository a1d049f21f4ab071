"""Fuzzy title search, tolerant of misspellings and missing accents.

The search has two steps: an inverted index of trigrams selects candidates, then edit distance (rapidfuzz) ranks them.
The second step alone would scan all titles for each query.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_CANDIDATES = 300
_MAX_POSTINGS = 300_000
_MIN_SCORE = 60.0
_NOT_WORDS = re.compile(r"[\W_]+")
# Letters that Unicode does not decompose into a letter and an accent.
_TRANSLITERATION = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ł": "l", "þ": "th", "ð": "d"})


def normalise(text: str) -> str:
    """Normalise to lower case without accents, words separated by one blank."""
    decomposed = unicodedata.normalize("NFKD", text.casefold().translate(_TRANSLITERATION))
    return _NOT_WORDS.sub(" ", "".join(each for each in decomposed if not unicodedata.combining(each))).strip()


class TitleSearch:
    """A search index of titles, of a few arrays: a million objects of Python would take ten times their memory."""

    def __init__(self, titles: Sequence[str]) -> None:
        # Each title with two blanks before it and one after it.
        encoded = bytearray()
        self._ends = np.empty(len(titles), np.int64)
        for row, title in enumerate(titles):
            encoded += f"  {normalise(title)} ".encode()
            self._ends[row] = len(encoded)
        self._encoded = bytes(encoded)
        characters = np.array(encoded, np.uint8).astype(np.int32)
        # No trigram begins in one title and ends in the next.
        is_whole = np.ones(len(characters), np.bool_)
        is_whole[self._ends - 1] = is_whole[self._ends - 2] = False
        trigrams = _trigrams(characters)[is_whole[:-2]]
        lengths = np.diff(self._ends, prepend=0) - 2
        rows = np.repeat(np.arange(len(titles), dtype=np.int32), lengths)
        # A title counts once per trigram.
        pairs = np.unique((trigrams.astype(np.int64) << 32) | rows)
        self._rows = (pairs & 0xFFFFFFFF).astype(np.int32)
        self._trigrams, starts = np.unique((pairs >> 32).astype(np.int32), return_index=True)
        self._starts: NDArray[np.int64] = np.append(starts, len(pairs))
        self._lengths = np.maximum(lengths, 1)

    def find(self, query: str, *, among: NDArray[np.bool_] | None = None) -> list[tuple[int, float]]:
        """Return rows and scores (0 to 100) of the matches, best first. The mask `among` (titles,) restricts them."""
        from rapidfuzz import fuzz

        normalised = normalise(query)
        if not normalised:
            return []
        shared = self._shared(normalised)
        if among is not None:
            shared = np.where(among, shared, 0)
        candidates = np.flatnonzero(shared)
        if len(candidates) > _CANDIDATES:
            # Among titles with as many shared trigrams, prefer shorter ones.
            value = shared[candidates] - self._lengths[candidates] / 1e4
            candidates = candidates[np.argpartition(-value, _CANDIDATES)[:_CANDIDATES]]
        scores = [(row, _similarity(normalised, self._title(row), fuzz)) for row in candidates.tolist()]
        return sorted([each for each in scores if each[1] >= _MIN_SCORE], key=lambda each: (-each[1], each[0]))

    def _title(self, row: int) -> str:
        begin = int(self._ends[row - 1]) if row else 0
        return self._encoded[begin + 2 : int(self._ends[row]) - 1].decode()

    def _shared(self, normalised: str) -> NDArray[np.int64]:
        query_trigrams = np.unique(_trigrams(np.frombuffer(f"  {normalised} ".encode(), np.uint8).astype(np.int32)))
        positions = np.searchsorted(self._trigrams, query_trigrams)
        positions = positions[positions < len(self._trigrams)]
        positions = positions[np.isin(self._trigrams[positions], query_trigrams)]
        # Rare trigrams are the most selective; for a large catalog skip the most common ones.
        sizes = self._starts[positions + 1] - self._starts[positions]
        rarest = positions[np.argsort(sizes, kind="stable")]
        is_used = np.cumsum(np.sort(sizes)) <= max(_MAX_POSTINGS, int(sizes.min(initial=0)))
        parts = [self._rows[self._starts[position] : self._starts[position + 1]] for position in rarest[is_used]]
        return np.bincount(np.concatenate([*parts, np.empty(0, np.int32)]), minlength=len(self._ends))


def _trigrams(encoded: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.asarray((encoded[:-2] << 16) | (encoded[1:-1] << 8) | encoded[2:], np.int32)


def _similarity(normalised: str, title: str, fuzz: object) -> float:
    # Word order is ignored and a partial match suffices; a full match scores higher.
    part: float = fuzz.partial_token_sort_ratio(normalised, title)  # type: ignore[attr-defined]  # the module is passed
    whole: float = fuzz.token_sort_ratio(normalised, title)  # type: ignore[attr-defined]
    substring: float = fuzz.partial_ratio(normalised, title) if len(normalised) <= len(title) else whole  # type: ignore[attr-defined]
    return 0.75 * max(part, substring) + 0.25 * whole
