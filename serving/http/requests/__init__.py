"""Read the parts of a request: query, JSON, multipart forms, idempotency keys."""
