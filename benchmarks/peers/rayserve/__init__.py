"""Ray Serve: one replica with batching."""
