"""Serve models over HTTP: one gateway in front, batches to runners behind it."""
