"""Recommendation algorithms with a common interface."""
