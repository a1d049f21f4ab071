"""Models at serving time: load an artifact and answer batches."""
