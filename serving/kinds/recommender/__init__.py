"""Recommenders: users and items in, ranked items out."""
