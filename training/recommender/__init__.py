"""Training and evaluation of recommenders."""
