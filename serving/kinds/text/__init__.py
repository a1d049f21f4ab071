"""Text classifiers: texts in, classes with probabilities out."""
