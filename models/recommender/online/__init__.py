"""The recommender at serving time."""
