"""Runners: the interface, batching, the wire format and placement."""
