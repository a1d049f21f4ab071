"""Training of tabular models."""
