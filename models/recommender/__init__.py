"""Recommendation algorithms, ranking and online serving."""
