"""The short road of plain requests to hot calls: no task, no scope and no middleware for each of them.

protocol   which requests are plain, and uvicorn's protocol that lets them turn off
asked      one plain request and the bytes of its answer
road       gathers what was asked meanwhile, and has it answered by one call
repeats    answers that are kept, and equal requests in flight
lane       the roads of a service, and how they get into its server
hot        which calls have one

Whatever is unusual about a request or its answer goes the ordinary road: the short one answers only what it knows how
to answer, and the two give the same bytes.
"""
