"""What every request passes through: HTTP in front, batches behind. Knows no model.

settings    every setting, one prefix
runners     what the gateway may ask of a runner, wherever it runs
batching    group commit: what waits while a call is in flight goes as one batch
hop         binary frames between the gateway and a runner in another process
schemas     what clients send and get
errors      from an error to a problem document
app         the HTTP application that the gateway mounts
"""
