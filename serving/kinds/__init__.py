"""The kinds of models: how each is called, and how its requests become batches."""
