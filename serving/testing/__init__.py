"""Tests of the user's own models with pytest: a client in the process of the test, without a port."""
