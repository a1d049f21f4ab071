"""Free text as numbers: the hashes of its words and of pairs of words.

The hashing trick needs no vocabulary in the card. Source: Weinberger et al. 2009, "Feature hashing for large scale
multitask learning".
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

# Number of buckets of the hash.
BUCKETS = 4096
# Distinct words and pairs of one text that are used, in the order of the text.
TOKENS = 64
NO_TOKEN = -1

_WORD = re.compile(r"\w+")
_READ_CHARACTERS = 2_000


def token_ids(texts: Sequence[str | None]) -> NDArray[np.float64]:
    """Return the buckets of the words of N texts, float64 (N, TOKENS), padded with NO_TOKEN. None has no words."""
    ids = np.full((len(texts), TOKENS), float(NO_TOKEN))
    for row, text in enumerate(texts):
        if text:
            words = _WORD.findall(text[:_READ_CHARACTERS].lower())
            tokens = dict.fromkeys(
                crc32(token.encode()) % BUCKETS for token in (*words, *map(" ".join, itertools.pairwise(words)))
            )
            buckets = list(tokens)[:TOKENS]
            ids[row, : len(buckets)] = buckets
    return ids
