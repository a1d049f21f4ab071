"""BentoML as its quickstart composes services: a gateway that depends on a runner with a batchable method."""
