"""Saving of models that are fitted already: from an object in memory, or an ONNX file, to an artifact."""
