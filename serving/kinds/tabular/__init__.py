"""Tabular models: rows of a table in, classes or estimates out."""
