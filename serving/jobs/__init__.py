"""Jobs: batches too long for a request, kept on disk and answered in the background. Know calls, no model.

    POST ──> spool ──> decoding ──> store + folder ──> worker ──> calls (the same queues as every request)
                                          │
    GET  <── results <── exporting <──────┘

errors      what can go wrong with a job, and how clients are told
record      a job as it is stored
database    the SQLite file that the gateways of a host share
store       jobs by their callers: added, found, listed, cancelled, expired
leases      jobs by their workers: claimed, kept, checkpointed, finished
folder      the files of one job
packed      its items in one file, found by number
transfers   which requests carry whole jobs or results, and so may take longer
spool       a request's body on its way to the disk
decoding    from what was sent to packed items; in a process of its own where it is large or not trusted
outcomes    a batch of items answered through the calls: one line per item, whatever becomes of its neighbours
worker      takes jobs in turns, and gives way to requests
background  the workers, and a look now and then for what has expired
exporting   results as CSV and Parquet
metrics     what is counted
building    all of it, from the settings
"""
