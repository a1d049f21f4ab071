"""Mosec: one worker process for the model."""
