"""Image classifiers on OpenVINO or torch, and the decoding of image files."""
