"""Tabular models on ONNX Runtime."""
