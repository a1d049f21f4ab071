"""Artifacts in the BentoML model store."""
