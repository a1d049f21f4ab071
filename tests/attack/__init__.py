"""Attacks on a running service in production settings, and proof of what it promises: `make attack`.

`scenario` registers attacks, `scenarios/` contains them, `target` starts the service, `bystander` is a well-behaved
caller during each attack, `probe` measures `/livez` and memory, `run` judges, `report` prints.
"""
