"""Recommendation algorithms behind one interface, and the predictor that serves them."""
