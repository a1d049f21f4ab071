"""Finds titles by what people type, wrong letters and missing accents included. Knows text and rows, no catalogue.

Two steps: titles that share three-letter pieces with the query, from an inverted index in arrays; then the best of
them by edit distance (rapidfuzz). The second step alone would look at every title at every query.
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
# Letters that do not fall apart into a letter and an accent.
_LETTERS = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ł": "l", "þ": "th", "ð": "d"})


def plain(text: str) -> str:
    """Lower case, no accents, words with one blank between."""
    apart = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS))
    return _NOT_WORDS.sub(" ", "".join(each for each in apart if not unicodedata.combining(each))).strip()


class TitleSearch:
    """An index of titles. Making it takes about 4 us a title."""

    def __init__(self, titles: Sequence[str]) -> None:
        self._plain = [plain(title) for title in titles]
        encoded = [np.frombuffer(f"  {title} ".encode(), np.uint8).astype(np.int32) for title in self._plain]
        lengths = np.array([max(0, len(each) - 2) for each in encoded], np.int64)
        pieces = np.concatenate([*(_pieces(each) for each in encoded), np.empty(0, np.int32)])
        rows = np.repeat(np.arange(len(encoded), dtype=np.int32), lengths)
        # A title counts once per piece, however often the piece is in it.
        both = np.unique((pieces.astype(np.int64) << 32) | rows)
        self._rows = (both & 0xFFFFFFFF).astype(np.int32)
        self._pieces, starts = np.unique((both >> 32).astype(np.int32), return_index=True)
        self._starts: NDArray[np.int64] = np.append(starts, len(both))
        self._lengths = np.maximum(lengths, 1)

    def find(self, query: str, *, among: NDArray[np.bool_] | None = None) -> list[tuple[int, float]]:
        """Rows and scores (0 to 100) of the titles most like `query`, best first. `among` (titles,) restricts them."""
        from rapidfuzz import fuzz

        asked = plain(query)
        if not asked:
            return []
        shared = self._shared(asked)
        if among is not None:
            shared = np.where(among, shared, 0)
        found = np.flatnonzero(shared)
        if len(found) > _CANDIDATES:
            # Of titles that share as much, the shorter is nearer to what was typed.
            value = shared[found] - self._lengths[found] / 1e4
            found = found[np.argpartition(-value, _CANDIDATES)[:_CANDIDATES]]
        scored = [(int(row), _likeness(asked, self._plain[row], fuzz)) for row in found]
        return sorted([each for each in scored if each[1] >= _MIN_SCORE], key=lambda each: (-each[1], each[0]))

    def _shared(self, asked: str) -> NDArray[np.int64]:
        wanted = np.unique(_pieces(np.frombuffer(f"  {asked} ".encode(), np.uint8).astype(np.int32)))
        places = np.searchsorted(self._pieces, wanted)
        places = places[places < len(self._pieces)]
        places = places[np.isin(self._pieces[places], wanted)]
        # The rarest pieces say most and cost least; of a large catalogue the common ones are left out.
        sizes = self._starts[places + 1] - self._starts[places]
        rarest = places[np.argsort(sizes, kind="stable")]
        kept = np.cumsum(np.sort(sizes)) <= max(_MAX_POSTINGS, int(sizes.min(initial=0)))
        parts = [self._rows[self._starts[place] : self._starts[place + 1]] for place in rarest[kept]]
        return np.bincount(np.concatenate([*parts, np.empty(0, np.int32)]), minlength=len(self._plain))


def _pieces(encoded: NDArray[np.int32]) -> NDArray[np.int32]:
    return np.asarray((encoded[:-2] << 16) | (encoded[1:-1] << 8) | encoded[2:], np.int32)


def _likeness(asked: str, title: str, fuzz: object) -> float:
    # Any order of the words, and a part of the title is enough; a whole match is still better than a part.
    part: float = fuzz.partial_token_sort_ratio(asked, title)  # type: ignore[attr-defined]  # the module is passed
    whole: float = fuzz.token_sort_ratio(asked, title)  # type: ignore[attr-defined]
    plain_part: float = fuzz.partial_ratio(asked, title) if len(asked) <= len(title) else whole  # type: ignore[attr-defined]
    return 0.75 * max(part, plain_part) + 0.25 * whole
