"""What every request passes through: HTTP in front, batches behind. Knows no model.

settings    every setting, one prefix
runners     what the gateway may ask of a runner, wherever it runs
batching    group commit: what waits while a call is in flight goes as one batch
hop         binary frames between the gateway and a runner in another process
served      for each kind of model its runner, and what is needed around it
catalog     which models there are
calls       what the API can do, free of any web framework
schemas     what clients send and get
errors      from an error to what a client is told, one table
problems    problem documents as HTTP responses
jobs        batches too long for a request, on disk and in the background
routes      the HTTP API: validates, calls, converts
openapi     the OpenAPI document, from the same operations as the routes
ui          the pages that show it
app         the HTTP application that the gateway mounts
edge        what surrounds it: body limit, compression, paths
"""
