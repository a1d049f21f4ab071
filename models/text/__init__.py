"""Serving of text classifiers."""
