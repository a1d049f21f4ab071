"""The engine under load for longer than a test may take, with faults in between: `make soak`."""
