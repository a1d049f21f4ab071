"""MLServer: a custom runtime, and its scikit-learn runtime."""
