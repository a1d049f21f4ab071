"""Errors of serving and the problem types that clients receive for them."""
