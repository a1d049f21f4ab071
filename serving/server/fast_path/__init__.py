"""The fast path: answer small JSON requests in batches, without a task or middleware for each."""
