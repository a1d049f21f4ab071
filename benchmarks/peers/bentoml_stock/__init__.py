"""BentoML as in its quickstart: a gateway that depends on a runner with a batchable method."""
