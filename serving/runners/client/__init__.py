"""The gateway's side of the connection to a runner."""
