"""One small server per peer, each run in its own environment. All answer with the code in `workloads`.

A server reads `PORT` and what `workloads.chosen` reads; batches go up to `BENCH_MAX_BATCH` where the peer batches.
"""
