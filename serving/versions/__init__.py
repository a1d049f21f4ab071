"""Versions of models: routing, traffic splits, reloading and deployment state."""
