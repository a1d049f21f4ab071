"""LitServe: one worker process with batching."""
