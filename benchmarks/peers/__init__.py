"""One small server per peer; each runs in the environment of that peer. All use the models in `workloads`.

A server reads `PORT` and the variables of `workloads.loader`. Peers with batching use batches of up to
`BENCH_MAX_BATCH` requests.
"""
