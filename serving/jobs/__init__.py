"""Jobs: batches too long for one request, stored on disk and processed in the background."""
