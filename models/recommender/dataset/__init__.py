"""Interactions, features and ids."""
