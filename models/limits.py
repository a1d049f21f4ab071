"""Limits of values that training and serving share: what a model is trained with, it can be sent."""

from __future__ import annotations

# Larger integers are not exact in clients whose numbers are float64, such as JavaScript (RFC 8259, section 6).
MAX_SAFE_INTEGER = 2**53 - 1
# Models compute in float32 in part: a larger number would be infinity.
MAX_NUMBER = 3.4028234663852886e38
# Characters of the id of a user or an item.
MAX_ID_CHARACTERS = 256
# Characters of one text in a row of a table.
MAX_TEXT_CHARACTERS = 10_000
