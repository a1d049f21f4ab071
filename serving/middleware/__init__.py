"""What surrounds every request, BentoML's own routes included: one plain ASGI class per file.

request_id   takes or makes the id, and sends it back
observed     process time, access log, metrics
cors         for pages of other origins, whatever answers them
last_resort  500 for whatever nobody caught
drained      takes nothing new once told to stop
timeout      the deadline of a request, and of reading its answer
body_timeout 408 for a body that does not arrive
paths        a slash at the end of a path changes nothing
compression  gzip for what is read, not for what is predicted
body_limit   413 for a body over the limit, while it streams in
"""
