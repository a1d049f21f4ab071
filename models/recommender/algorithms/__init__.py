"""Recommendation algorithms with one interface."""
