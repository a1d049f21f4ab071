"""What every request passes through: HTTP in front, batches behind. Knows no model.

A request, on its way in:

express          the short road of plain requests to hot calls
strict_protocol, strict_socket   uvicorn's protocols, with bounds for clients that never end
middleware, edge what surrounds the application: limits, compression, paths, times
app, routes      the HTTP API: validates, calls, converts
guard            lets a caller in (access, keys, tokens), as often as it may (limits, buckets, redis_client)
request_id, asker, caller   what is known of the request: its id, the version that it wants, how long it waits
schemas          what clients send and get; inference_body and tensors those of the Open Inference Protocol
calls            what the API can do, free of any web framework; fetching gets images by their URL
cache            answers repeated requests; answer_stores is where answers are kept

To a model, which runs in this process, in another or on another host:

served, stocked  for each kind of model its runner, and what is needed around it
runners          what may be asked of a runner, wherever it runs; placement says where, until bounds the wait
connected, batching   group commit: what waits while a call is in flight goes as one batch
hop              to a runner in another process: connection, frames, orders, and health, what is known of it
inline           to a runner in this process; pace says whether it needs a thread (threads)
runner_service, runner_app   the runner's end of the hop
hosted, answering, slot      a runner's instance: its batch methods, and the versions that it holds

And around that:

settings, settings_page, protection, engine   every setting, its page, what it must not be, and what follows for BentoML
gateway_service, lean_factory  the gateway as BentoML starts it; supervision is process 1 of the image
process, parent, draining, readiness  how a process begins, ends, and says whether it can answer
catalog, reloads, pins         which models there are, and changing the version that answers
traffic          which version answers whom, by a plan; plans keeps it, traffic_control changes it, agreement compares
background       tasks in the background, and how they end
kept             what administrators changed, as a host keeps it: pins and plans
feedback         what users did, written in groups
jobs             batches too long for a request, on disk and in the background
events           answers as they are finished, as Server-Sent Events
errors, kinds, problems        from an error to what a client is told, one table; deprecation what is told of old fields
telemetry, version_metrics, access_log   what is counted and logged
openapi, openapi_headers, ui, version    the document of the API, and the pages that show it
"""
