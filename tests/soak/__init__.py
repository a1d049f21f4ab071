"""Soak test of the engine, with load and faults for minutes: `make soak`."""
