"""MLServer with a custom runtime, or with the scikit-learn runtime of MLServer."""
