"""Serving of the user's own classes."""
