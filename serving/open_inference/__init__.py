"""The Open Inference Protocol: tensors in and out."""
