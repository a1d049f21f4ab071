"""Recommendation algorithms, ranking and the predictor that serves them."""
