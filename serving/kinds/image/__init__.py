"""Image classifiers: image files in, classes with confidences out."""
