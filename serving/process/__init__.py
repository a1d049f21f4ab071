"""Start, supervision and shutdown of a serving process."""
